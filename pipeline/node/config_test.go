package node

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"
)

// load loads a configuration as the command line does.
func load(t *testing.T, file string, environ, args []string) (Config, error) {
	t.Helper()
	path := ""
	if file != "" {
		t.Chdir(t.TempDir())
		path = "estop.yaml"
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flags := pflag.NewFlagSet("estop", pflag.ContinueOnError)
	flags.StringSlice("kafka.brokers", nil, "")
	flags.Int("kafka.port", 0, "")
	flags.String("log.level", "info", "")
	flags.Bool("detectors.catalog", true, "")
	flags.String("output", "text", "") // not a setting
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(path, environ, flags)
}

func TestLoadTakesTheStrongestSource(t *testing.T) {
	file := "kafka:\n  brokers: [file:1]\n  port: 1\nlog: {level: warn}\narchive.maxwait: 2s\n"
	for name, c := range map[string]struct {
		environ, args []string
		change        func(*Config)
	}{
		"file": {nil, nil, func(c *Config) {
			c.Kafka.Brokers, c.Kafka.Port, c.Log.Level = []string{"file:1"}, 1, "warn"
		}},
		"environment over file": {[]string{"ESTOP_KAFKA_BROKERS=env:1, env:2", "ESTOP_LOG_LEVEL=error"}, nil, func(c *Config) {
			c.Kafka.Brokers, c.Kafka.Port, c.Log.Level = []string{"env:1", "env:2"}, 1, "error"
		}},
		"flags over both": {[]string{"ESTOP_KAFKA_BROKERS=env:1", "ESTOP_LOG_LEVEL=error"}, []string{"--kafka.brokers=a:1,b:2", "--log.level=debug", "--kafka.port=7", "--output=json"}, func(c *Config) {
			c.Kafka.Brokers, c.Kafka.Port, c.Log.Level = []string{"a:1", "b:2"}, 7, "debug"
		}},
		"a flag that is set to its default still wins": {[]string{"ESTOP_LOG_LEVEL=error"}, []string{"--log.level=info", "--kafka.port=0"}, func(c *Config) {
			c.Kafka.Brokers, c.Kafka.Port, c.Log.Level = []string{"file:1"}, 0, "info"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			want := Default()
			want.Archive.MaxWait = 2 * time.Second
			c.change(&want)
			got, err := load(t, file, c.environ, c.args)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLoadNamesTheKeyAndWhereItWasSaid(t *testing.T) {
	for name, c := range map[string]struct {
		file    string
		environ []string
		args    []string
		want    []string
	}{
		"unknown key":           {file: "kafka:\n  brokrs: [a:1]", want: []string{`estop.yaml:2:3: unknown key "kafka.brokrs" (did you mean "kafka.brokers"?)`}},
		"unknown group":         {file: "kafak: {port: 1}", want: []string{`estop.yaml:1:1: unknown key "kafak" (did you mean "kafka"?)`}},
		"key of another group":  {file: "partitions: 3", want: []string{`estop.yaml:1:1: unknown key "partitions" (did you mean "kafka.partitions"?)`}},
		"nothing near":          {file: "frobnicate: 3", want: []string{`estop.yaml:1:1: unknown key "frobnicate"; 'estop config show' lists the keys`}},
		"nested where no group": {file: "dir: {a: b}", want: []string{`estop.yaml:1:1: dir: is one value, not a mapping`}},
		"value where a group":   {file: "http: 9464", want: []string{`estop.yaml:1:7: http holds other keys: http.addr`}},
		"list where a value":    {file: "log.level: [info]", want: []string{`estop.yaml:1:1: log.level: is one value, not a list`}},
		"alias":                 {file: "dir: &a x\nlog: {level: *a}", want: []string{`estop.yaml:2:7: log.level: is one value, not a reference to another place`}},
		"mapping in a list":     {file: "kafka: {brokers: [{a: b}]}", want: []string{`kafka.brokers: is a list of texts`}},
		"said twice":            {file: "kafka: {port: 1}\nkafka.port: 2", want: []string{`estop.yaml:2:1: kafka.port was said before, at estop.yaml:1:9`}},
		"list as the whole":     {file: "- a", want: []string{`estop.yaml:1:1: a configuration is a mapping of keys to values`}},
		"two documents":         {file: "dir: a\n---\ndir: b", want: []string{`estop.yaml: a configuration is one document`}},
		"no YAML":               {file: "dir: a\n b: [", want: []string{`estop.yaml:2: `}},
		"number, file":          {file: "kafka: {port: nine}", want: []string{`estop.yaml:1:9: kafka.port: "nine" is not a whole number`}},
		"fraction":              {file: "kafka: {port: 1.5}", want: []string{`kafka.port: "1.5" is not a whole number`}},
		"bits":                  {file: "kafka: {replicas: 70000}", want: []string{`kafka.replicas: "70000" is out of range`}},
		"bool":                  {file: "detectors: {catalog: maybe}", want: []string{`detectors.catalog: "maybe" is neither true nor false`}},
		"time":                  {file: "archive: {maxwait: 500}", want: []string{`archive.maxwait: "500" is not a time such as 500ms, 10s or 24h`}},
		"value, file":           {file: "log:\n  level: dbug", want: []string{`estop.yaml:2:3: log.level: "dbug" is not one of debug, info, warn, error (did you mean "debug"?)`}},
		"value, environment":    {environ: []string{"ESTOP_LOG_LEVEL=dbug"}, want: []string{`ESTOP_LOG_LEVEL: "dbug" is not one of`}},
		"value, flag":           {args: []string{"--log.level=dbug"}, want: []string{`--log.level: "dbug" is not one of`}},
		"number, environment":   {environ: []string{"ESTOP_KAFKA_PORT=x"}, want: []string{`ESTOP_KAFKA_PORT: "x" is not a whole number`}},
		"nearly a variable":     {environ: []string{"ESTOP_KAFKA_BROKER=a:1"}, want: []string{`ESTOP_KAFKA_BROKER: no setting has this name (did you mean ESTOP_KAFKA_BROKERS?)`}},
		"port":                  {file: "nats.port: 65536", want: []string{`nats.port: 65536 is not between 0 and 65535`}},
		"address":               {file: "kafka.brokers: localhost", want: []string{`kafka.brokers: "localhost" is not HOST:PORT`}},
		"mechanism":             {file: "kafka.sasl: {mechanism: scram-sha256, user: u}", want: []string{`(did you mean "scram-sha-256"?)`}},
		"certificate":           {file: "kafka.tls: {enabled: true, cert: c.pem}", want: []string{`kafka.tls.cert: needs kafka.tls.key`}},
		"plain text by mistake": {file: "kafka.tls: {ca: ca.pem}", want: []string{`kafka.tls.enabled: is false, but there are certificates`}},
		"two logins":            {file: "nats: {nkey: a.nk, password: x}", want: []string{`nats.nkey: is set, and so is nats.password`}},
		"no seed":               {file: "nats.nkey: nowhere.nk", want: []string{`nats.nkey: cannot be read: stat nowhere.nk`}},
		"seed, environment":     {environ: []string{"ESTOP_NATS_NKEY=nowhere.nk"}, want: []string{`ESTOP_NATS_NKEY: cannot be read`}},
		"no credentials":        {file: "nats.creds: estop.yaml", want: []string{`nats.creds: there is no seed of a user in "estop.yaml"`}},
		"NATS certificate":      {file: "nats.tls: {cert: c.pem}", want: []string{`nats.tls.cert: needs nats.tls.key`}},
		"NATS authority":        {file: "nats.tls: {ca: estop.yaml}", want: []string{`nats.tls.ca: no certificate in "estop.yaml"`}},
		"NATS key":              {environ: []string{"ESTOP_NATS_TLS_CERT=c.pem", "ESTOP_NATS_TLS_KEY=k.pem"}, want: []string{`ESTOP_NATS_TLS_CERT: cannot load the client certificate: open c.pem`}},
		"nothing detects":       {file: "detectors.catalog: false", want: []string{`detectors.catalog: is off, and detectors.dir is not set`}},
		"folder":                {file: "detectors.dir: nowhere", want: []string{`detectors.dir: "nowhere" is not a folder`}},
		"where a gate listens":  {file: "gate: {listen: 8080}", want: []string{`estop.yaml:1:8: gate.listen: "8080" is not HOST:PORT`}},
		"source of a name":      {file: "gate:\n  agent_from: X-Agent", want: []string{`estop.yaml:2:3: gate.agent_from: "X-Agent" is not one of header:NAME`}},
		"class of resources":    {file: "gate:\n  fail_open: ['*x']", want: []string{`estop.yaml:2:3: gate.fail_open: "*x": a pattern is`}},
		"service of a gate":     {file: "gate.upstream: localhost:3000", want: []string{`gate.upstream: "localhost:3000" is not a URL`}},
		"key of a gate":         {file: "gate: {agentfrom: principal}", want: []string{`estop.yaml:1:8: unknown key "gate.agentfrom" (did you mean "gate.agent_from"?)`}},
		"variable of a gate":    {environ: []string{"ESTOP_GATE_FAIL=opne"}, want: []string{`ESTOP_GATE_FAIL: "opne" is not one of closed, open (did you mean "open"?)`}},
		"all of a gate": {file: "gate: {trusted: [localhost], form: nginx, tls_cert: c.pem, methods: [], max_message: 1, drain: 0s, grace: 0s, max_stale: 0s, fail_closed: [a*b]}", want: []string{
			"9 mistakes", "gate.trusted", "gate.form", "gate.tls_cert", "gate.methods", "gate.max_message", "gate.drain", "gate.grace", "gate.max_stale", "gate.fail_closed",
		}},
		"not positive": {file: "detect.checkpoint: 0s", want: []string{`detect.checkpoint: 0s is not positive`}},
		"all of them": {file: "kafka: {port: x}\nfoo: 1", environ: []string{"ESTOP_LOG_FORMAT=xml"}, args: []string{"--log.level=x"}, want: []string{
			"4 mistakes in the configuration:", "kafka.port", `"foo"`, "ESTOP_LOG_FORMAT", "--log.level",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, c.file, c.environ, c.args)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got  %v\nwant %s", err, want)
				}
			}
		})
	}
}

func TestLoadLeavesAlone(t *testing.T) {
	for name, c := range map[string]struct {
		file    string
		environ []string
	}{
		"an empty file":          {file: "# nothing\n"},
		"empty values":           {file: "kafka:\nlog:\n  level:\n"},
		"other variables":        {environ: []string{"ESTOP_CONFIG=x", "ESTOP_DATA=y", "ESTOP_LIBCHDB=z", "HOME=/"}},
		"links of Kubernetes":    {environ: []string{"ESTOP_KAFKA_PORT=tcp://10.0.0.1:9092", "ESTOP_KAFKA_SERVICE_HOST=10.0.0.1", "ESTOP_PORT=tcp://10.0.0.2:80"}},
		"a strange environment ": {environ: []string{"", "=", "ESTOP_"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := load(t, c.file, c.environ, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(Default(), got, cmpopts.IgnoreUnexported(Config{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLoadSaysWhichFileItCannotRead(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "missing.yaml"), nil, nil)
	if err == nil || !strings.Contains(err.Error(), "missing.yaml") {
		t.Error(err)
	}
	huge := filepath.Join(t.TempDir(), "huge.yaml")
	if err := os.WriteFile(huge, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(huge, nil, nil); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Error(err)
	}
}

// Every setting can be set in each of its forms, so that a field of a new type is not
// forgotten in parse.
func TestEverySettingCanBeSet(t *testing.T) {
	texts := map[string]string{"string": "x", "[]string": "a,b", "bool": "true", "time.Duration": "90s", "int": "7", "int16": "7", "int32": "7", "int64": "7"}
	c, variables := Default(), map[string]string{}
	for _, f := range fields(&c) {
		text, ok := texts[f.value.Type().String()]
		if !ok {
			t.Fatalf("%s has type %v", f.key, f.value.Type())
		}
		if err := f.parse(text); err != nil {
			t.Errorf("%s: %v", f.key, err)
		}
		if f.value.IsZero() {
			t.Errorf("%s is not set", f.key)
		}
		if other := variables[EnvName(f.key)]; other != "" {
			t.Errorf("%s and %s have one variable", f.key, other)
		}
		variables[EnvName(f.key)] = f.key
	}
}

func TestDefaultIsRight(t *testing.T) {
	if found := Default().problems(); len(found) > 0 {
		t.Error(found)
	}
}

func TestSettingsShowNoSecret(t *testing.T) {
	const secret = "correct-horse"
	c, err := load(t, "", []string{
		"ESTOP_NATS_PASSWORD=" + secret, "ESTOP_CLICKHOUSE_PASSWORD=" + secret, "ESTOP_KAFKA_SASL_PASSWORD=" + secret,
		"ESTOP_NATS_URL=nats://someone:" + secret + "@nats:4222",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	starred := 0
	for _, s := range c.Settings() {
		if text, ok := s.Value.(string); ok {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows the secret", s.Key)
			}
			if text == "***" {
				starred++
			}
		}
	}
	if starred != 3 {
		t.Errorf("%d secrets are starred out, want 3", starred)
	}
}

func TestSettingsSayWhereEachWasSaid(t *testing.T) {
	c, err := load(t, "dir: /x\n", []string{"ESTOP_NATS_USER=u"}, []string{"--kafka.port=1"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range c.Settings() {
		if s.From != "" {
			got[s.Key] = s.From
		}
	}
	want := map[string]string{"dir": "estop.yaml:1:1", "nats.user": "ESTOP_NATS_USER", "kafka.port": "--kafka.port"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestCheckRemoteNamesWhatIsMissing(t *testing.T) {
	c := Default()
	if err := c.CheckRemote(); err == nil || !strings.Contains(err.Error(), "kafka.brokers") || !strings.Contains(err.Error(), "nats.url") {
		t.Error(err)
	}
	c.Kafka.Brokers, c.NATS.URL = []string{"k:1"}, "nats://n:1"
	if err := c.CheckRemote(); err != nil {
		t.Error(err)
	}
}

func FuzzLoad(f *testing.F) {
	for _, s := range []string{"kafka: {port: 1}", "kafka:\n  brokers: [a]\n", "a: &a [*a]", "---\n---", "? {a: b}\n: c", "kafka.port: 1\nkafka: {port: 2}", "log: {level: *x}", "<<: {dir: a}", "\x00", "!!binary a: b"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := Default()
		l := newLoader(&c)
		l.yaml("fuzz", b)
		if l.err() == nil {
			c.Settings()
		}
	})
}
