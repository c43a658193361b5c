package image

import (
	"bytes"
	"crypto/sha1" // the format's own checksum
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"unicode/utf16"
)

// trustStore is the file by which Java trusts the authorities of the package
// ca-certificates, in Java's own format and with the password that all have.
func trustStore(t tree) ([]byte, error) {
	var entries bytes.Buffer
	count := uint32(0)
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if !strings.HasPrefix(name, "usr/share/ca-certificates/") || path.Ext(name) != ".crt" {
			continue
		}
		b, err := os.ReadFile(t[name].source)
		if err != nil {
			return nil, err
		}
		block, _ := pem.Decode(b)
		if block == nil {
			return nil, fmt.Errorf("%s holds no certificate", name)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			continue // Go is stricter than Java; such an authority is not missed
		}
		alias := strings.ToLower(strings.TrimSuffix(path.Base(name), ".crt"))
		writeEntry(&entries, alias, block.Bytes)
		count++
	}
	return seal(count, entries.Bytes(), "changeit"), nil
}

// writeEntry appends one trusted certificate.
func writeEntry(b *bytes.Buffer, alias string, der []byte) {
	put := func(v any) { _ = binary.Write(b, binary.BigEndian, v) } // a buffer takes all
	text := func(s string) { put(uint16(len(s))); b.WriteString(s) }
	put(uint32(2)) // a trusted certificate
	text(ascii(alias))
	put(epoch().UnixMilli())
	text("X.509")
	put(uint32(len(der)))
	b.Write(der)
}

// ascii keeps the letters that Java's own encoding of text shares with UTF-8.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= 0 || r >= 0x80 {
			return '_'
		}
		return r
	}, s)
}

// seal puts head and checksum around the entries.
func seal(count uint32, entries []byte, password string) []byte {
	out := binary.BigEndian.AppendUint32(nil, 0xfeedfeed)
	out = binary.BigEndian.AppendUint32(out, 2)
	out = binary.BigEndian.AppendUint32(out, count)
	out = append(out, entries...)
	h := sha1.New()
	for _, c := range utf16.Encode([]rune(password)) {
		h.Write([]byte{byte(c >> 8), byte(c)})
	}
	h.Write([]byte("Mighty Aphrodite"))
	h.Write(out)
	return h.Sum(out)
}
