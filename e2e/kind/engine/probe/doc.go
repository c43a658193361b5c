// Probe does nothing and ends well: that it ran is the answer.
package main
