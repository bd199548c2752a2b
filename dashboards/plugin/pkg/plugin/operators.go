package plugin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/estop-project/estop/revoke"
)

// role is what a person may do in Grafana. The order is that of what they may.
type role int

// The roles of Grafana.
const (
	nobody role = iota
	viewer
	editor
	admin
)

var roles = map[string]role{"Viewer": viewer, "Editor": editor, "Admin": admin}

func (r role) String() string {
	return [...]string{"somebody without a role", "Viewer", "Editor", "Admin"}[r]
}

// errForbidden is wrapped where somebody may not do what they want.
var errForbidden = errors.New("not allowed")

// permit refuses whoever has less than a role. An alert rule and a public dashboard have no user.
func permit(u *backend.User, least role) error {
	switch {
	case u == nil || u.Login == "":
		return fmt.Errorf("%w: nobody is logged in", errForbidden)
	case roles[u.Role] < least:
		return fmt.Errorf("%w: it takes the role %s, and %s is %s", errForbidden, least, u.Login, roles[u.Role])
	}
	return nil
}

// operators returns the file of each operator's private key, by name. The name of the key is the login of the person in
// Grafana: guards hold each order to the name of the key that signed it, so nobody acts as somebody else.
func (d *Datasource) operators() (map[string]string, error) {
	if d.settings.Keys == "" {
		return nil, errNoKeys
	}
	files, err := filepath.Glob(filepath.Join(d.settings.Keys, "*.jwk"))
	if err == nil {
		_, err = os.Stat(d.settings.Keys)
	}
	if err != nil {
		return nil, fmt.Errorf("keys: cannot look into %q: %w", d.settings.Keys, err)
	}
	all := make(map[string]string, len(files))
	var wrong []error
	for _, file := range files {
		s, err := revoke.LoadSigner(file)
		switch {
		case err != nil:
			wrong = append(wrong, fmt.Errorf("keys: %w", err))
		case s.Role == revoke.OperatorRole:
			all[s.Name] = file
		}
	}
	return all, errors.Join(wrong...)
}

// operatorKey returns the file of a person's key.
func (d *Datasource) operatorKey(login string) (string, error) {
	all, err := d.operators()
	if file, ok := all[login]; ok {
		return file, nil // what is wrong with the keys of others is no matter
	}
	if err != nil {
		return "", err
	}
	return "", fmt.Errorf("%w: %q has no key in %q; 'estop keys new --role operator --name %s' makes one", errForbidden, login, d.settings.Keys, login)
}
