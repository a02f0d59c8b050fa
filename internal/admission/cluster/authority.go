package cluster

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// backdate is how long before now a certificate begins to be valid: clocks of
// nodes differ.
const backdate = 5 * time.Minute

// authority is a certificate authority. Without a key it has stopped signing,
// and is trusted for what it signed before.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// leaf is the certificate that the webhook shows, with its key.
type leaf struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority makes a certificate authority that can sign for the names alone.
func newAuthority(now time.Time, lifetime time.Duration, names []string) (*authority, error) {
	key, serial, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("make a certificate authority: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		// The serial number tells two authorities apart that live side by side.
		Subject:                     pkix.Name{CommonName: "pratique admission CA " + serial.Text(16)[:8]},
		NotBefore:                   now.Add(-backdate),
		NotAfter:                    now.Add(lifetime),
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         names,
	}
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate authority: %w", err)
	}
	return &authority{cert, key}, nil
}

// issue makes a server certificate. It never outlives its authority: once the
// authority has expired, nothing that it signed is in use.
func (a *authority) issue(now time.Time, lifetime time.Duration, names []string) (*leaf, error) {
	key, serial, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("make a server certificate: %w", err)
	}
	end := now.Add(lifetime)
	if end.After(a.cert.NotAfter) {
		end = a.cert.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "pratique admission"},
		DNSNames:     names,
		NotBefore:    now.Add(-backdate),
		NotAfter:     end,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := sign(template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("make a server certificate: %w", err)
	}
	return &leaf{cert, key}, nil
}

func newKey() (*ecdsa.PrivateKey, *big.Int, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, fmt.Errorf("make a serial number: %w", err)
	}
	// Not zero, and of one length in print.
	return key, serial.SetBit(serial, 120, 1), nil
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// owns reports whether the key is the certificate's.
func owns(cert *x509.Certificate, key *ecdsa.PrivateKey) bool {
	return cert != nil && key != nil && key.PublicKey.Equal(cert.PublicKey)
}

const (
	typeCertificate = "CERTIFICATE"
	typeKey         = "EC PRIVATE KEY"
	// maxAuthorities bounds what is read of a bundle: one signs, one is to sign,
	// the rest has signed.
	maxAuthorities = 16
)

var errNoKey = errors.New("holds no EC private key in PEM")

func encodeCerts(certs ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: typeCertificate, Bytes: c.Raw}))
	}
	return b.Bytes()
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: typeKey, Bytes: der}), nil
}

// decodeCerts reads certificates in PEM, and nothing else.
func decodeCerts(raw []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for rest := bytes.TrimSpace(raw); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		block, after := pem.Decode(rest)
		if block == nil || block.Type != typeCertificate {
			return nil, errors.New("holds something that is no certificate in PEM")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(certs)+1, err)
		}
		if certs = append(certs, cert); len(certs) > maxAuthorities {
			return nil, fmt.Errorf("holds more than %d certificates", maxAuthorities)
		}
		rest = after
	}
	if len(certs) == 0 {
		return nil, errors.New("holds no certificate")
	}
	return certs, nil
}

// decodeKey reads a key. Nothing of it stands in the error.
func decodeKey(raw []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != typeKey {
		return nil, errNoKey
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, errNoKey
	}
	return key, nil
}
