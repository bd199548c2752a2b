package natsd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// GuestUser is the name of the user for guards where they log in with a password.
const GuestUser = "guest"

// Login is one user of the server: by the public half of an nkey, or by name and password.
type Login struct {
	Role     Role
	NKey     string
	User     string
	Password string // as it is compared
	Variable string // of the server's environment, in place of Password
}

// Config returns the part of the embedded server's configuration that says who may do what: the detector has
// a password, and whoever does not log in is a guard.
func Config(password string) string {
	return Accounts(
		Login{Role: Detector, User: DetectorUser, Password: password},
		Login{Role: Guard, User: GuestUser, Password: GuestUser},
	) + "no_auth_user: " + GuestUser + "\n"
}

// AccountsFile returns a file for nats-server's configuration to include: the accounts with these users.
func AccountsFile(command string, logins ...Login) string {
	return `# Who may publish and hear what. Made by '` + command + `'; nats-server's configuration includes it.
#
# Accounts keep the kill switch in one hand. The detector's owns the stream of revocations, and from it
# alone they come. Guards and gates are in an account of their own: they hear revocations, send
# acknowledgements, and read the stream through an exported service. From the account of monitors
# nothing goes anywhere.

` + Accounts(logins...)
}

// Accounts returns the accounts part of a NATS server's configuration file with these users, the
// same for the embedded server and for a cluster.
func Accounts(logins ...Login) string {
	var b strings.Builder
	b.WriteString("accounts {\n")
	for _, a := range accounts() {
		a.write(&b, slices.DeleteFunc(slices.Clone(logins), func(l Login) bool { return PermissionsOf(l.Role).Account != a.name }))
	}
	b.WriteString("}\n")
	return b.String()
}

func (a account) write(b *strings.Builder, logins []Login) {
	fmt.Fprintf(b, "  %s {\n", a.name)
	if a.jetStream {
		b.WriteString("    jetstream: enabled\n")
	}
	b.WriteString("    users: [\n")
	for _, l := range logins {
		l.write(b)
	}
	b.WriteString("    ]\n")
	if len(a.streams)+len(a.services) > 0 {
		b.WriteString("    exports: [\n")
		for _, s := range a.streams {
			fmt.Fprintf(b, "      { stream: %q }\n", s)
		}
		for _, s := range a.services {
			fmt.Fprintf(b, "      { service: %q, response_type: Stream }\n", s)
		}
		b.WriteString("    ]\n")
	}
	b.WriteString("    imports: [\n")
	for _, s := range a.imports {
		fmt.Fprintf(b, "      { stream: { account: %s, subject: %q } }\n", s.account, s.subject)
	}
	for _, s := range a.borrows {
		fmt.Fprintf(b, "      { service: { account: %s, subject: %q } }\n", s.account, s.subject)
	}
	b.WriteString("    ]\n  }\n")
}

func (l Login) write(b *strings.Builder) {
	fmt.Fprintf(b, "      { # %s\n", l.Role)
	switch {
	case l.NKey != "":
		fmt.Fprintf(b, "        nkey: %s\n", l.NKey)
	case l.Variable != "":
		fmt.Fprintf(b, "        user: %q, password: $%s\n", l.User, l.Variable)
	default:
		fmt.Fprintf(b, "        user: %q, password: %s\n", l.User, strconv.Quote(l.Password))
	}
	p := PermissionsOf(l.Role)
	fmt.Fprintf(b, "        permissions {\n          publish: { allow: [%s] }\n          subscribe: { allow: [%s] }\n        }\n      }\n",
		quoted(p.Publish), quoted(p.Subscribe))
}

func quoted(subjects []string) string {
	var all []string
	for _, s := range subjects {
		all = append(all, strconv.Quote(s))
	}
	return strings.Join(all, ", ")
}
