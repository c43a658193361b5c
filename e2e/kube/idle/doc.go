// Command idle measures what an agent asks of its API server while nothing is to
// be done: jobs in sync, their objects real and made by the agent, for a while.
//
//	go run ./e2e/kube/idle [-jobs 100] [-duration 10m] [-short]
//
// The agent's parts that look after jobs run in a process of their own, which
// this program starts again as `idle agent`; its memory and CPU are that
// process's. In it, too, is the stand-in at the agent's Flink port, which costs
// next to nothing: a real agent also speaks TLS to each JobManager. Beside it
// stand-ins play what a cluster would do: kubelet (pods become ready) and Flink's
// leader elections and checkpoints (ConfigMaps change as often as in reality).
//
// It prints one line and exits 0, or 1 where the limit of requests is exceeded.
// Watches are no requests here; renewals of the agent's Lease are counted apart,
// since their number does not grow with jobs.
package main
