package doctor

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Hub is the way to the hub. Address, TrustDomain and one of Pin and Roots are required.
type Hub struct {
	Address     string // host:port
	TrustDomain string
	Pin         string         // sha256:<hex> of its root
	Roots       *x509.CertPool // nil: by pin
	// The world; nil: the real one.
	Resolve func(ctx context.Context, host string) ([]string, error)
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	Proxy   func(*http.Request) (*url.URL, error)
	Now     func() time.Time
}

// Deadlines of the steps.
const (
	dnsLimit = 5 * time.Second
	tcpLimit = 5 * time.Second
	tlsLimit = 5 * time.Second
)

const (
	whatDNS   = "hub DNS"
	whatTCP   = "hub TCP"
	whatTLS   = "hub TLS"
	whatClock = "clock"
)

// HubCheck looks at the way to the hub: its name, a connection, what answers on it, and by its certificate the clock.
func HubCheck(h Hub) Check {
	if h.Resolve == nil {
		h.Resolve = net.DefaultResolver.LookupHost
	}
	if h.Dial == nil {
		h.Dial = new(net.Dialer).DialContext
	}
	if h.Proxy == nil {
		h.Proxy = http.ProxyFromEnvironment
	}
	if h.Now == nil {
		h.Now = time.Now
	}

	return Check{What: "hub", Limit: dnsLimit + tcpLimit + tlsLimit, Look: h.look}
}

func (h Hub) look(ctx context.Context) []Finding {
	host, port, err := net.SplitHostPort(h.Address)
	if err != nil {
		return []Finding{{Fail, whatDNS, fmt.Sprintf("hub.address %q is not host:port", h.Address), "take hub.address from waterwheel cluster invite"}}
	}
	proxy, err := h.Proxy(&http.Request{URL: &url.URL{Scheme: "https", Host: h.Address}})
	if err != nil {
		return []Finding{{Fail, whatTCP, "the proxy of the environment cannot be read: " + err.Error(), "mend HTTPS_PROXY"}}
	}
	found := []Finding{h.name(ctx, host, proxy)}
	conn, tcp := h.connect(ctx, host, port, proxy)
	found = append(found, tcp)
	if conn == nil {
		return append(found, unknown(whatTLS, "no connection"), unknown(whatClock, "no certificate of the hub to compare with"))
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, tlsLimit)
	defer cancel()
	// It looks at whatever is shown, and says afterwards what that is worth: nothing is sent over this connection.
	client := tls.Client(conn, &tls.Config{
		ServerName: host, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // judge says what is shown there; nothing is sent
	})
	if err := client.HandshakeContext(ctx); err != nil {
		return append(found, handshake(err, h.Address), unknown(whatClock, "no certificate of the hub to compare with"))
	}
	state := client.ConnectionState()
	shown, ours := h.judge(state)
	if !ours {
		return append(found, shown, unknown(whatClock, "no certificate of the hub to compare with"))
	}
	if err := welcome(ctx, client); shown.Level == OK && err != nil {
		shown = Finding{
			Fail, whatTLS, "the hub answers, and refuses whoever has not joined yet: " + err.Error(),
			"that is its port for admins: take hub.address from waterwheel cluster invite",
		}
	}

	return append(found, shown, clock(state.PeerCertificates[0], h.Now()))
}

// welcome waits for the first byte, which a server of HTTP/2 sends unasked: in TLS 1.3 it looks at its client's
// certificate, or the lack of one, only after the client's handshake is over. Silence is no refusal.
func welcome(ctx context.Context, client *tls.Conn) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := client.SetReadDeadline(deadline); err != nil {
			return err
		}
	}
	_, err := client.Read(make([]byte, 1))
	if _, refused := errors.AsType[*net.OpError](err); refused && strings.Contains(err.Error(), "remote error: tls") {
		return err
	}

	return nil
}

func unknown(what, why string) Finding { return Finding{Warn, what, "not known: " + why, ""} }

func (h Hub) name(ctx context.Context, host string, proxy *url.URL) Finding {
	if net.ParseIP(host) != nil {
		return Finding{OK, whatDNS, host + " is an address", ""}
	}
	ctx, cancel := context.WithTimeout(ctx, dnsLimit)
	defer cancel()
	addrs, err := h.Resolve(ctx, host)
	switch {
	case err == nil:
		return Finding{OK, whatDNS, host + " is " + strings.Join(addrs, ", "), ""}
	case proxy != nil:
		return Finding{Warn, whatDNS, fmt.Sprintf("%s is not known here (%v); the proxy has to know it", host, err), ""}
	}

	return Finding{
		Fail, whatDNS, fmt.Sprintf("%s is not known here: %v", host, err),
		"have this network's DNS resolve it, or have it pass on the hub's zone; is hub.address written as waterwheel cluster invite prints it?",
	}
}

// connect opens a connection to the hub, as the agent would: through a proxy where the environment names one.
func (h Hub) connect(ctx context.Context, host, port string, proxy *url.URL) (net.Conn, Finding) {
	ctx, cancel := context.WithTimeout(ctx, tcpLimit)
	defer cancel()
	began := time.Now()
	to := h.Address
	if proxy != nil {
		to = proxy.Host
		if proxy.Port() == "" {
			to = net.JoinHostPort(proxy.Hostname(), "80")
		}
	}
	conn, err := h.Dial(ctx, "tcp", to)
	if dns, ok := errors.AsType[*net.DNSError](err); ok && proxy == nil {
		return nil, unknown(whatTCP, "no address of "+dns.Name)
	}
	if err != nil {
		return nil, Finding{Fail, whatTCP, fmt.Sprintf("no connection to %s: %v", to, err), fmt.Sprintf(
			"let this host or namespace out to %s port %s, TCP: firewall, NetworkPolicy, security group; and see that the hub runs", host, port)}
	}
	if proxy == nil {
		return conn, Finding{OK, whatTCP, fmt.Sprintf("connected to %s in %s", conn.RemoteAddr(), time.Since(began).Round(time.Millisecond)), ""}
	}
	if err := tunnel(ctx, conn, h.Address, proxy.User); err != nil {
		conn.Close()

		return nil, Finding{
			Fail, whatTCP, fmt.Sprintf("the proxy %s makes no tunnel to %s: %v", to, h.Address, err),
			fmt.Sprintf("have the proxy allow CONNECT %s, or take the hub out of it with NO_PROXY=%s", h.Address, host),
		}
	}

	return conn, Finding{OK, whatTCP, fmt.Sprintf("tunnel to %s through the proxy %s", h.Address, to), ""}
}

// tunnel asks a proxy for one.
func tunnel(ctx context.Context, conn net.Conn, address string, user *url.Userinfo) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Host: address}, Host: address, Header: http.Header{}}
	if password, ok := user.Password(); ok || user.Username() != "" {
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 1), req) // nothing comes after it before we speak
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", resp.Status)
	}

	return conn.SetDeadline(time.Time{})
}

// handshake says what it means that there was none.
func handshake(err error, address string) Finding {
	const end = "agents need the connection end to end: let it pass unopened"
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return Finding{
			Fail, whatTLS, "what answers there speaks no TLS: " + err.Error(),
			address + " must be the hub's port for agents, with nothing before it that ends TLS",
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Finding{
			Fail, whatTLS, "connected, and then silence: something in between takes the connection and passes nothing on",
			"look for a firewall or a load balancer without a backend; " + end,
		}
	}

	return Finding{
		Fail, whatTLS, "the handshake was broken off: " + err.Error(),
		"a firewall or a proxy in between does that to TLS it does not like; " + end + "; or that port is not the hub's for agents",
	}
}
