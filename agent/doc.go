// Package agent is the controller of one customer cluster, wired: it joins the
// hub, records its orders, makes them true here and keeps them so, with or
// without the hub, and reports.
//
// This package only builds the parts and runs them together. What each part
// promises stands in its own room.
package agent
