package natsd

import "strconv"

// Config returns the accounts part of a NATS server's configuration file, the same for the
// embedded server and for a cluster, with the password of DetectorUser.
func Config(password string) string {
	return `
accounts {
  DETECTOR {
    jetstream: enabled
    users: [{
      user: "` + DetectorUser + `", password: ` + strconv.Quote(password) + `
      permissions {
        publish: { allow: ["estop.v1.>", "$JS.API.>", "_INBOX.>"] }
        subscribe: { allow: ["estop.v1.>", "_INBOX.>"] }
      }
    }]
    exports: [
      { stream: "estop.v1.revoke.>" }
      { stream: "estop.v1.beat" }
      { stream: "estop.v1.risk.>" }
      { service: "$JS.API.DIRECT.GET.ESTOP_REVOKE", response_type: Stream }
      { service: "$JS.API.DIRECT.GET.ESTOP_RISK", response_type: Stream }
    ]
    imports: [
      { stream: { account: GUARDS, subject: "estop.v1.ack.>" } }
      { stream: { account: GUARDS, subject: "estop.v1.guard.>" } }
    ]
  }
  GUARDS {
    users: [{
      user: "guest", password: "guest"
      permissions {
        publish: { allow: ["estop.v1.ack.>", "estop.v1.guard.>", "$JS.API.DIRECT.GET.ESTOP_REVOKE", "$JS.API.DIRECT.GET.ESTOP_RISK"] }
        subscribe: { allow: ["estop.v1.>", "_INBOX.>"] }
      }
    }]
    exports: [ { stream: "estop.v1.ack.>" }, { stream: "estop.v1.guard.>" } ]
    imports: [
      { stream: { account: DETECTOR, subject: "estop.v1.revoke.>" } }
      { stream: { account: DETECTOR, subject: "estop.v1.beat" } }
      { stream: { account: DETECTOR, subject: "estop.v1.risk.>" } }
      { service: { account: DETECTOR, subject: "$JS.API.DIRECT.GET.ESTOP_REVOKE" } }
      { service: { account: DETECTOR, subject: "$JS.API.DIRECT.GET.ESTOP_RISK" } }
    ]
  }
}
no_auth_user: guest
`
}
