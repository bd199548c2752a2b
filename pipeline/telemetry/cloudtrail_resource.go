package telemetry

import "bytes"

// parameters are the request parameters that name a resource, the most telling first.
// A parameter counts for its service, or for every service where none is given. kind is
// put before the value to make an ARN; where it is empty, the value must be an ARN. global
// resources have no region in their ARN, and s3 no account either.
var parameters = [...]struct {
	name, service string
	kind          string
	global        bool
}{
	{name: "resourceArn"},
	{name: "roleArn"},
	{name: "functionArn"},
	{name: "topicArn"},
	{name: "policyArn"},
	{name: "secretArn"},
	{name: "stateMachineArn"},
	{name: "bucketName", service: "s3", global: true},
	{name: "secretId", service: "secretsmanager", kind: "secret:"},
	{name: "functionName", service: "lambda", kind: "function:"},
	{name: "tableName", service: "dynamodb", kind: "table/"},
	{name: "keyId", service: "kms", kind: "key/"},
	{name: "roleName", service: "iam", kind: "role/", global: true},
	{name: "userName", service: "iam", kind: "user/", global: true},
	{name: "groupName", service: "iam", kind: "group/", global: true},
	{name: "policyName", service: "iam", kind: "policy/", global: true},
	{name: "instanceProfileName", service: "iam", kind: "instance-profile/", global: true},
	{name: "instanceId", service: "ec2", kind: "instance/"},
	{name: "volumeId", service: "ec2", kind: "volume/"},
	{name: "snapshotId", service: "ec2", kind: "snapshot/"},
	{name: "imageId", service: "ec2", kind: "image/"},
	{name: "groupId", service: "ec2", kind: "security-group/"},
	{name: "subnetId", service: "ec2", kind: "subnet/"},
	{name: "vpcId", service: "ec2", kind: "vpc/"},
	{name: "dBInstanceIdentifier", service: "rds", kind: "db:"},
	{name: "dBClusterIdentifier", service: "rds", kind: "cluster:"},
	{name: "dBSnapshotIdentifier", service: "rds", kind: "snapshot:"},
	{name: "streamName", service: "kinesis", kind: "stream/"},
	{name: "queueName", service: "sqs"},
	{name: "repositoryName", service: "ecr", kind: "repository/"},
	{name: "clusterName", service: "eks", kind: "cluster/"},
	{name: "logGroupName", service: "logs", kind: "log-group:"},
	{name: "stackName", service: "cloudformation", kind: "stack/"},
	{name: "modelId", service: "bedrock", kind: "foundation-model/"},
	{name: "agentId", service: "bedrock", kind: "agent/"},
	{name: "name", service: "cloudtrail", kind: "trail/"},
	{name: "trailName", service: "cloudtrail", kind: "trail/"},
	{name: "name", service: "ssm", kind: "parameter/"},
	{name: "name", service: "eks", kind: "cluster/"},
	{name: "instanceId", kind: "instance/"}, // ssm and others that act on instances of ec2
}

// parameters reads the request parameters that name a resource. Instances of ec2 are in a
// list; its first counts.
func (s *scanner) parameters(r *record) bool {
	if !s.object() {
		return s.reason == ""
	}
	for first := true; ; first = false {
		key, more := s.member(first)
		if !more {
			return s.reason == ""
		}
		switch string(key) {
		case "key":
			s.loose(&r.key)
		case "omitted":
			s.loose(&r.omitted)
		case "instancesSet":
			s.instances(r)
		default:
			s.parameter(r, key)
		}
	}
}

func (s *scanner) parameter(r *record, key []byte) {
	var value []byte
	read := false
	for i := range parameters {
		if parameters[i].name != string(key) {
			continue
		}
		if !read && !s.loose(&value) {
			return
		}
		read = true
		r.params[i] = value
	}
	if !read {
		s.skip(2)
	}
}

// instances reads instancesSet: {"items":[{"instanceId":…}, …]}.
func (s *scanner) instances(r *record) {
	if !s.object() {
		return
	}
	for first := true; ; first = false {
		key, more := s.member(first)
		if !more {
			return
		}
		if string(key) != "items" || s.peek() != '[' {
			s.skip(3)
			continue
		}
		s.i++
		for first := true; s.element(first); first = false {
			s.instance(r)
		}
	}
}

func (s *scanner) instance(r *record) {
	var id []byte
	if !s.object() {
		return
	}
	for first := true; ; first = false {
		key, more := s.member(first)
		if !more {
			return
		}
		switch string(key) {
		case "instanceId", "imageId":
			if s.loose(&id) {
				r.setParam(string(key), id)
			}
		default:
			s.skip(5)
		}
	}
}

// setParam gives a parameter its value if it has none.
func (r *record) setParam(name string, value []byte) {
	for i := range parameters {
		if parameters[i].name == name && len(r.params[i]) == 0 {
			r.params[i] = value
		}
	}
}

// resource names what the call acted on: the first ARN that AWS names, else a parameter
// made an ARN, else the service as a whole.
func (s *scanner) resource(r *record, service []byte) []byte {
	if len(r.arn) > 0 {
		return r.arn
	}
	for i := range parameters {
		p, v := &parameters[i], r.params[i]
		if len(v) == 0 || p.service != "" && p.service != string(service) {
			continue
		}
		if bytes.HasPrefix(v, []byte("arn:")) {
			return v
		}
		if p.kind != "" || p.service != "" {
			return s.arn(r, i, v)
		}
	}
	if len(service) == 0 {
		return nil
	}
	return s.build("", service, []byte(":*"))
}

// arn makes an ARN of the value of parameter i.
func (s *scanner) arn(r *record, i int, value []byte) []byte {
	p := &parameters[i]
	service := p.service
	if service == "" {
		service = "ec2"
	}
	from := len(s.arena)
	s.build("arn:", partition(r.principal.arn), colon)
	s.build(service)
	if service == "s3" {
		s.build(":::", value)
		if len(r.key) > 0 {
			s.build("/", r.key)
		}
		return s.arena[from:len(s.arena):len(s.arena)]
	}
	s.build(":")
	if !p.global {
		s.build("", r.region)
	}
	s.build(":", first(r.recipient, r.principal.account), colon)
	kind := p.kind
	if service == "kms" && bytes.HasPrefix(value, []byte("alias/")) {
		kind = ""
	}
	s.build(kind, bytes.TrimPrefix(value, slash))
	return s.arena[from:len(s.arena):len(s.arena)]
}

// partition returns the partition of an ARN: aws, aws-cn, aws-us-gov.
func partition(arn []byte) []byte {
	if rest, ok := bytes.CutPrefix(arn, []byte("arn:")); ok {
		if i := bytes.IndexByte(rest, ':'); i > 0 {
			return rest[:i]
		}
	}
	return []byte("aws")
}
