package flinkrest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/flink/failure"
)

// Limits and defaults of calls.
const (
	maxAnswer             = 8 << 20 // bytes of one answer
	DefaultTimeout        = 3 * time.Second
	DefaultObserveTimeout = 10 * time.Second
	DefaultProgramTimeout = 60 * time.Second
)

// Config is what a Client is made of. All fields may be left zero.
type Config struct {
	HTTP           *http.Client  // how to reach JobManagers; its redirect policy is replaced
	Timeout        time.Duration // of one short call
	ObserveTimeout time.Duration // of a whole Observe
	ProgramTimeout time.Duration // of Plan and Submit, inside which main() runs
	Logger         *slog.Logger
}

// Client talks to JobManagers. It keeps nothing of any of them but idle
// connections. All methods may be called from many goroutines.
type Client struct {
	http                      *http.Client
	timeout, observe, program time.Duration
	log                       *slog.Logger
}

// New returns a client; without Config.HTTP it dials directly, past any proxy.
func New(c Config) *Client {
	hc := http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second, ResponseHeaderTimeout: 0, MaxResponseHeaderBytes: 64 << 10,
	}}
	if c.HTTP != nil {
		hc = *c.HTTP
	}
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	log := c.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Client{
		http: &hc, log: log,
		timeout: orDefault(c.Timeout, DefaultTimeout),
		observe: orDefault(c.ObserveTimeout, DefaultObserveTimeout),
		program: orDefault(c.ProgramTimeout, DefaultProgramTimeout),
	}
}

func orDefault(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}

// answerError is an HTTP answer outside 2xx.
type answerError struct {
	Status int
	Chain  []failure.Link // of the error text; empty when it has none
}

func (e *answerError) Error() string {
	cause := failure.Innermost(e.Chain)
	if s := cause.String(); s != "" {
		return fmt.Sprintf("http %d: %s", e.Status, s)
	}
	return fmt.Sprintf("http %d", e.Status)
}

// status is the HTTP status of an answer that err stands for, 0 when there was no answer.
func status(err error) int {
	if e, ok := errors.AsType[*answerError](err); ok {
		return e.Status
	}
	return 0
}

// errNotJSON says that an answer came, but not one of a JobManager.
var errNotJSON = errors.New("answer is not the expected JSON")

// errTooLarge says that an answer was cut off at maxAnswer.
var errTooLarge = fmt.Errorf("answer is larger than %d bytes", maxAnswer)

// answered reports whether a call got an HTTP answer, good or bad.
func answered(err error) bool {
	return err == nil || status(err) != 0 || errors.Is(err, errNotJSON) || errors.Is(err, errTooLarge)
}

func (c *Client) get(ctx context.Context, endpoint, path string, into any) error {
	return c.call(ctx, c.timeout, http.MethodGet, endpoint, path, nil, into)
}

// call does one request within its own deadline. into may be nil: the answer is read and dropped.
func (c *Client) call(ctx context.Context, timeout time.Duration, method, endpoint, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var payload io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("%s %s: encode: %w", method, path, err)
		}
		payload = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(endpoint, "/")+path, payload)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, withoutURL(err))
	}
	defer resp.Body.Close()
	raw, err := readBounded(resp.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("%s %s: %w", method, path, &answerError{Status: resp.StatusCode, Chain: errorChain(raw)})
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%s %s: %w: %w", method, path, errNotJSON, err)
	}
	return nil
}

func readBounded(r io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if len(raw) > maxAnswer {
		return nil, errTooLarge
	}
	return raw, nil
}

// withoutURL takes the method and address off an http client's error: the caller has named them.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// errorChain reads Flink's {"errors":[…]}: the last text is the one with the
// stack. Any other body gives no chain; it may be a page of some proxy.
func errorChain(raw []byte) []failure.Link {
	var body struct{ Errors []string }
	if json.Unmarshal(raw, &body) != nil {
		return nil
	}
	for _, text := range slices.Backward(body.Errors) {
		if chain := failure.Parse(text); len(chain) > 0 {
			return chain
		}
	}
	return nil
}

func jobPath(jobID, rest string) string { return "/jobs/" + url.PathEscape(jobID) + rest }
