// Command converge measures how fast orders become objects: n orders are
// recorded as the agent's session records them, the agent's real reconciler
// brings each up and hands in its job, and a loop in the same process and run
// creates the very same objects in other namespaces of the same API server. The
// ratio of the two is what being careful costs: looks, records before acts, keys.
//
//	go run ./e2e/kube/converge [-n 1000] [-short] [-cpuprofile FILE]
//
// Of ten objects the agent makes it asks thirteen times: a job's status is written
// before its run is brought up, before its job is handed in, and when it runs,
// for an intent is on record before it is done. If all requests cost the same, and
// all else nothing, the ratio could be 10/13 = 0.77; it is above that as far as a
// write of a status is cheaper than to make an object. The loop sends JSON that it
// has ready; the agent makes its objects, sends and reads them as protobuf, and
// watches them. The ratio of the CPU time of everything, API server included, is
// cpu_ratio: it says more than ratio where the machine does other things too.
//
// It prints one line and exits 0, or 1 where something did not converge. Flink is
// a stand-in that answers at once; the jobs keep no state, so that all objects
// are the agent's. The clock of the agent stops when every job is in sync.
package main
