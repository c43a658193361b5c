package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/internal/wire"
)

// view is the agent's own view of its jobs, which it can show with the hub gone.
type view struct {
	mu   sync.Mutex // guards jobs
	jobs map[string]seenJob
}

type seenJob struct {
	order  flink.Order
	status flink.Status
}

func (v *view) put(o flink.Order, s flink.Status) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.jobs[o.UID] = seenJob{o, s}
}

func (v *view) drop(uid string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.jobs, uid)
}

func (v *view) all() []seenJob {
	v.mu.Lock()
	defer v.mu.Unlock()
	jobs := make([]seenJob, 0, len(v.jobs))
	for _, j := range v.jobs {
		jobs = append(jobs, j)
	}
	slices.SortFunc(jobs, func(a, b seenJob) int {
		return cmp.Or(cmp.Compare(a.order.Tenant, b.order.Tenant), cmp.Compare(a.order.Name, b.order.Name))
	})
	return jobs
}

// viewJSON is what GET /status answers.
type viewJSON struct {
	Cluster     string    `json:"cluster"`
	ID          string    `json:"id"`
	CertExpiry  time.Time `json:"certificateExpiresAt"`
	Membership  string    `json:"membership,omitempty"` // what is wrong with it; empty when all is well
	Hub         hubJSON   `json:"hub"`
	MemoryTotal int64     `json:"memoryTotal"`
	MemoryUsed  int64     `json:"memoryUsed"`
	Jobs        []jobJSON `json:"jobs"`
}

type hubJSON struct {
	Address   string    `json:"address"`
	State     string    `json:"state"`
	Since     time.Time `json:"since"`
	LastHeard time.Time `json:"lastHeard"`
	Error     string    `json:"error,omitempty"`
	Pending   int       `json:"reportsPending"`
}

type jobJSON struct {
	UID        string          `json:"uid"`
	Tenant     string          `json:"tenant"`
	Name       string          `json:"name"`
	Generation int32           `json:"generation"`
	Deleted    bool            `json:"deleted,omitempty"`
	Status     json.RawMessage `json:"status"`
}

// serveStatus answers GET /status on loopback.
func (a *Agent) serveStatus(w http.ResponseWriter, r *http.Request) {
	member, st := a.enrol.Status(), a.session.State()
	total, used := a.memory(r.Context())
	out := viewJSON{
		Cluster: member.Cluster, ID: member.ID.String(), CertExpiry: member.NotAfter, Membership: member.Message,
		Hub: hubJSON{
			Address: a.cfg.Hub.Address, State: st.State, Since: st.Since, LastHeard: st.LastHeard, Error: st.Err, Pending: st.Pending,
		},
		MemoryTotal: total, MemoryUsed: used, Jobs: []jobJSON{},
	}
	for _, j := range a.view.all() {
		status, err := wire.StatusJSON(j.status)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		out.Jobs = append(out.Jobs, jobJSON{
			UID: j.order.UID, Tenant: j.order.Tenant, Name: j.order.Name, Generation: j.order.Generation, Deleted: j.order.Deleted, Status: status,
		})
	}
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // the reader has gone: nobody to tell
}

// memory is what the place can hold and what is declared, in bytes.
func (a *Agent) memory(ctx context.Context) (total, used int64) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, room, err := a.runtime.Observe(ctx, "")
	if err != nil {
		return 0, 0
	}
	return room.MemoryTotal, room.MemoryUsed
}
