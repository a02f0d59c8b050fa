package cluster

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The keys of the Secret. ca.crt, tls.crt and tls.key mean what they mean
// elsewhere; ca.crt holds every authority that is trusted now, the one that
// signs first.
const (
	fieldBundle  = "ca.crt"
	fieldCert    = "tls.crt"
	fieldKey     = "tls.key"
	fieldSigning = "ca.key"   // of the authority that signs
	fieldNext    = "next.key" // of the one that is to sign next
)

// trust is all that replicas share about the webhook's certificate. It is never
// changed once made.
//
// An authority passes through it in one direction: next (trusted, signs
// nothing), signing, retired (trusted, its key thrown away), gone (expired, and
// with it everything that it signed). So at any moment, whatever certificate
// any replica shows was signed by an authority that every API server has been
// told of for cycle.Overlap at least.
type trust struct {
	signing *authority
	next    *authority // nil while there is no need
	retired []*x509.Certificate
	leaf    *leaf
}

// cycle is how long things live.
type cycle struct {
	names     []string
	authority time.Duration
	leaf      time.Duration
	overlap   time.Duration
}

// found makes the first trust there is.
func (c cycle) found(now time.Time) (*trust, error) {
	ca, err := newAuthority(now, c.authority, c.names)
	if err != nil {
		return nil, err
	}
	l, err := ca.issue(now, c.leaf, c.names)
	if err != nil {
		return nil, err
	}
	return &trust{signing: ca, leaf: l}, nil
}

// advance returns the trust that is due at now: t itself when nothing is.
// announced tells whether every webhook configuration holds the next authority.
func (c cycle) advance(t *trust, now time.Time, announced bool) (*trust, error) {
	due := *t
	changed := due.bury(now)
	if due.next != nil && !c.covers(due.next) {
		due.next = nil
	}
	if due.next == nil && (now.After(due.signing.cert.NotAfter.Add(-c.authority/3)) || !c.covers(due.signing)) {
		ca, err := newAuthority(now, c.authority, c.names)
		if err != nil {
			return nil, err
		}
		due.next, changed = ca, true
	}
	if due.next != nil && c.maySign(&due, now, announced) {
		due.retired = append([]*x509.Certificate{due.signing.cert}, due.retired...)
		due.signing, due.next, changed = due.next, nil, true
		due.bury(now)
	}
	if c.leafDue(&due, now) {
		l, err := due.signing.issue(now, c.leaf, c.names)
		if err != nil {
			return nil, err
		}
		due.leaf, changed = l, true
	}
	if !changed {
		return t, nil
	}
	return &due, nil
}

// maySign reports whether the next authority may take over. When the present one
// is at its end, or cannot sign for the names, there is nothing left to overlap
// with, and to wait is to stand still.
func (c cycle) maySign(t *trust, now time.Time, announced bool) bool {
	since := t.next.cert.NotBefore.Add(backdate)
	return announced && !now.Before(since.Add(c.overlap)) || !now.Before(t.signing.cert.NotAfter) || !c.covers(t.signing)
}

// covers reports whether the authority was made for the names.
func (c cycle) covers(a *authority) bool {
	return slices.Equal(a.cert.PermittedDNSDomains, c.names)
}

// leafDue reports whether another server certificate is needed: in the last
// third of its life, after a change of authority or of names. One that has been
// cut short by the end of its authority is not made again in vain.
func (c cycle) leafDue(t *trust, now time.Time) bool {
	cert := t.leaf.cert
	if cert.CheckSignatureFrom(t.signing.cert) != nil || !slices.Equal(cert.DNSNames, c.names) {
		return true
	}
	return now.After(cert.NotAfter.Add(-c.leaf/3)) && cert.NotAfter.Before(t.signing.cert.NotAfter)
}

// until is when advance has something to do next, at the latest.
func (c cycle) until(t *trust) time.Time {
	due := []time.Time{t.signing.cert.NotAfter, t.leaf.cert.NotAfter.Add(-c.leaf / 3)}
	if t.next == nil {
		due = append(due, t.signing.cert.NotAfter.Add(-c.authority/3))
	} else {
		due = append(due, t.next.cert.NotBefore.Add(backdate+c.overlap))
	}
	return slices.MinFunc(due, time.Time.Compare)
}

// bury drops the retired authorities that have expired, and a next one that has.
func (t *trust) bury(now time.Time) bool {
	living := func(cert *x509.Certificate) bool { return now.Before(cert.NotAfter) }
	var kept []*x509.Certificate
	for _, cert := range t.retired {
		if living(cert) {
			kept = append(kept, cert)
		}
	}
	changed := len(kept) != len(t.retired)
	t.retired = kept
	if t.next != nil && !living(t.next.cert) {
		t.next, changed = nil, true
	}
	return changed
}

// bundle is what clients have to trust, in PEM.
func (t *trust) bundle() []byte {
	all := []*x509.Certificate{t.signing.cert}
	if t.next != nil {
		all = append(all, t.next.cert)
	}
	return encodeCerts(append(all, t.retired...)...)
}

// pair is the certificate as a server shows it.
func (t *trust) pair() *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{t.leaf.cert.Raw}, PrivateKey: t.leaf.key, Leaf: t.leaf.cert}
}

// encode gives the fields of the Secret.
func (t *trust) encode() (map[string][]byte, error) {
	caKey, err := encodeKey(t.signing.key)
	if err != nil {
		return nil, err
	}
	leafKey, err := encodeKey(t.leaf.key)
	if err != nil {
		return nil, err
	}
	fields := map[string][]byte{
		fieldBundle: t.bundle(), fieldSigning: caKey,
		fieldCert: encodeCerts(t.leaf.cert), fieldKey: leafKey,
	}
	if t.next == nil {
		return fields, nil
	}
	fields[fieldNext], err = encodeKey(t.next.key)
	return fields, err
}

// decodeTrust reads the fields of the Secret and holds the parts against one
// another: what it returns can be served. That a certificate has expired is no
// fault of the Secret, and for advance to mend.
func decodeTrust(fields map[string][]byte) (*trust, error) {
	certs, err := decodeCerts(fields[fieldBundle])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fieldBundle, err)
	}
	t := &trust{}
	if t.signing, certs, err = claim(certs, fields[fieldSigning], fieldSigning); err != nil {
		return nil, err
	}
	if raw, ok := fields[fieldNext]; ok {
		if t.next, certs, err = claim(certs, raw, fieldNext); err != nil {
			return nil, err
		}
	}
	t.retired = certs
	if t.leaf, err = decodeLeaf(fields); err != nil {
		return nil, err
	}
	if err := t.leaf.cert.CheckSignatureFrom(t.signing.cert); err != nil {
		return nil, fmt.Errorf("%s: not signed by the authority of %s: %w", fieldCert, fieldSigning, err)
	}
	return t, nil
}

// claim takes the authority that a key belongs to out of the certificates.
func claim(certs []*x509.Certificate, rawKey []byte, field string) (*authority, []*x509.Certificate, error) {
	key, err := decodeKey(rawKey)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", field, err)
	}
	for i, cert := range certs {
		if owns(cert, key) && cert.IsCA {
			return &authority{cert, key}, slices.Delete(slices.Clone(certs), i, i+1), nil
		}
	}
	return nil, nil, fmt.Errorf("%s: no authority in %s has this key", field, fieldBundle)
}

func decodeLeaf(fields map[string][]byte) (*leaf, error) {
	certs, err := decodeCerts(fields[fieldCert])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fieldCert, err)
	}
	key, err := decodeKey(fields[fieldKey])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fieldKey, err)
	}
	if !owns(certs[0], key) || certs[0].IsCA {
		return nil, errors.New(fieldKey + " does not belong to " + fieldCert)
	}
	return &leaf{certs[0], key}, nil
}

// holds reports whether a bundle in PEM holds the certificate. A bundle that
// cannot be read holds nothing.
func holds(bundle []byte, cert *x509.Certificate) bool {
	certs, err := decodeCerts(bundle)
	return err == nil && slices.ContainsFunc(certs, cert.Equal)
}

// same reports whether two bundles are the same text.
func same(a, b []byte) bool { return bytes.Equal(bytes.TrimSpace(a), bytes.TrimSpace(b)) }
