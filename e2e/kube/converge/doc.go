// Command converge measures how fast orders become objects: n orders are
// recorded as the agent's session records them, the agent's real reconciler
// brings each up and hands in its job, and a loop in the same process and run
// creates the very same objects in other namespaces of the same API server. The
// ratio of the two is what being careful costs: looks, records before acts, keys.
//
//	go run ./e2e/kube/converge [-n 1000] [-short] [-cpuprofile FILE]
//
// It prints one line and exits 0, or 1 where something did not converge. Flink is
// a stand-in that answers at once; the jobs keep no state, so that all objects
// are the agent's. The clock of the agent stops when every job is in sync.
package main
