package feeds

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/go-digest"
)

// Errors of a bundle's signature.
var (
	ErrUnsigned     = errors.New("the bundle is not signed")
	ErrBadSignature = errors.New("the bundle's signature is not of this key")
)

// signedText is what is signed: nothing else that this key may sign begins so.
func signedText(d digest.Digest) []byte { return []byte("pratique vulndb bundle v1\n" + d.String()) }

// sign gives no signature for no key.
func sign(key ed25519.PrivateKey, d digest.Digest) []byte {
	if key == nil {
		return nil
	}
	return ed25519.Sign(key, signedText(d))
}

func verify(key ed25519.PublicKey, d digest.Digest, signature []byte) error {
	if len(signature) == 0 {
		return ErrUnsigned
	}
	if len(signature) != ed25519.SignatureSize || !ed25519.Verify(key, signedText(d), signature) {
		return ErrBadSignature
	}
	return nil
}

// In a file the signature stands before the packed bytes, in a frame that other
// readers of zstd pass over.
// https://www.rfc-editor.org/rfc/rfc8878#name-skippable-frames
const (
	frameMagic = 0x184D2A50
	frameLabel = "PRATSIG1"
	frameSize  = 8 + len(frameLabel) + ed25519.SignatureSize
)

// signatureFrame holds zeros for no signature.
func signatureFrame(signature []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, frameMagic)
	b = binary.LittleEndian.AppendUint32(b, uint32(frameSize-8))
	b = append(b, frameLabel...)
	b = append(b, signature...)
	return append(b, make([]byte, frameSize-len(b))...)
}

// parseFrame finds the signature at the start of a file; false when there is
// no frame for one.
func parseFrame(b []byte) (signature []byte, ok bool) {
	if len(b) < frameSize || u32(b) != frameMagic || u32(b[4:]) != uint32(frameSize-8) || string(b[8:8+len(frameLabel)]) != frameLabel {
		return nil, false
	}
	signature = b[frameSize-ed25519.SignatureSize : frameSize]
	for _, c := range signature {
		if c != 0 {
			return signature, true
		}
	}
	return nil, true
}

// maxKeyFile bounds a key file in bytes.
const maxKeyFile = 64 << 10

// ReadPrivateKey reads an Ed25519 key from a PEM file (PKCS #8), as
// `openssl genpkey -algorithm ed25519` writes it.
func ReadPrivateKey(path string) (ed25519.PrivateKey, error) {
	return readKey[ed25519.PrivateKey](path, "PRIVATE KEY", x509.ParsePKCS8PrivateKey)
}

// ReadPublicKey reads an Ed25519 key from a PEM file (PKIX), as
// `openssl pkey -pubout` writes it.
func ReadPublicKey(path string) (ed25519.PublicKey, error) {
	return readKey[ed25519.PublicKey](path, "PUBLIC KEY", x509.ParsePKIXPublicKey)
}

func readKey[K ed25519.PrivateKey | ed25519.PublicKey](path, kind string, parse func([]byte) (any, error)) (K, error) {
	der, err := readPEM(path, kind)
	if err != nil {
		return nil, err
	}
	key, err := parse(der)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	if own, ok := key.(K); ok {
		return own, nil
	}
	return nil, fmt.Errorf("read key %s: it is not an Ed25519 key", path)
}

func readPEM(path, kind string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxKeyFile {
		err = fmt.Errorf("file of %d bytes", info.Size())
	}
	var raw []byte
	if err == nil {
		raw, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("read key %s: want a PEM block %q", path, kind)
	}
	return block.Bytes, nil
}
