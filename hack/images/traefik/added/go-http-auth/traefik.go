package auth

import (
	"net/http"
	"strings"
)

// CheckSecret says whether a password is that of a line in an htpasswd file.
func CheckSecret(password, secret string) bool {
	compare := compareFuncs[0].compare
	for _, known := range compareFuncs[1:] {
		if strings.HasPrefix(secret, known.prefix) {
			compare = known.compare
			break
		}
	}
	return compare([]byte(secret), []byte(password)) == nil
}

// RequireAuthStale asks for credentials anew. In the lab's build it does not say that only the nonce was too old.
func (a *DigestAuth) RequireAuthStale(w http.ResponseWriter, r *http.Request) {
	a.RequireAuth(w, r)
}
