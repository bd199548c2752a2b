package cloudtrail

import "fmt"

// Operation is one API of one service.
type operation struct {
	service, name string
	readOnly      bool
	data          bool // a data event, not a management event
	fill          func(*account, *record)
}

var operations = map[string]operation{
	"GetObject": {"s3", "GetObject", true, true, func(a *account, r *record) { a.object(r, 0, a.size()) }},
	"PutObject": {"s3", "PutObject", false, true, func(a *account, r *record) {
		a.object(r, a.size(), 0)
		r.ResponseElements = map[string]any{"x-amz-server-side-encryption": "aws:kms"}
	}},
	"ListBuckets": {"s3", "ListBuckets", true, false, func(a *account, r *record) {
		r.RequestParameters = map[string]any{"Host": "s3." + region + ".amazonaws.com"}
		r.AdditionalData = map[string]any{"SignatureVersion": "SigV4", "AuthenticationMethod": "AuthHeader", "bytesTransferredIn": 0, "bytesTransferredOut": a.IntN(8000)}
	}},
	"Decrypt": {"kms", "Decrypt", true, false, func(a *account, r *record) {
		r.RequestParameters = map[string]any{"encryptionAlgorithm": "SYMMETRIC_DEFAULT", "encryptionContext": map[string]any{"PARAMETER_ARN": "arn:aws:ssm:" + region + ":" + accountID + ":parameter/app/config"}}
		r.Resources = a.arn("AWS::KMS::Key", "kms", "key/0e5d0ab6-0000-4000-a000-%012d")
	}},
	"GetSecretValue": {"secretsmanager", "GetSecretValue", true, false, func(a *account, r *record) {
		r.RequestParameters = map[string]any{"secretId": fmt.Sprintf("arn:aws:secretsmanager:%s:%s:secret:app/%d-AbCdEf", region, accountID, a.IntN(20))}
	}},
	"GetParameter": {"ssm", "GetParameter", true, false, func(a *account, r *record) {
		name := fmt.Sprintf("/agents/config/%d", a.IntN(30))
		r.RequestParameters = map[string]any{"name": name, "withDecryption": true}
		r.Resources = []resource{{AccountID: accountID, ARN: "arn:aws:ssm:" + region + ":" + accountID + ":parameter" + name}}
	}},
	"SendCommand": {"ssm", "SendCommand", false, false, func(a *account, r *record) {
		r.RequestParameters = map[string]any{"documentName": "AWS-RunShellScript", "instanceIds": []string{a.thing("i")}, "parameters": "HIDDEN_DUE_TO_SECURITY_REASONS", "interactive": false}
		r.ResponseElements = map[string]any{"command": map[string]any{"commandId": a.uuid(), "status": "Pending", "targets": []any{}, "timeoutSeconds": 3600}}
	}},
	"Invoke": {"lambda", "Invoke", false, true, func(a *account, r *record) {
		function := fmt.Sprintf("arn:aws:lambda:%s:%s:function:tool-%d", region, accountID, a.IntN(12))
		r.RequestParameters = map[string]any{"functionName": function, "invocationType": "RequestResponse"}
		r.Resources = []resource{{accountID, "AWS::Lambda::Function", function}}
	}},
	"InvokeModel": {"bedrock", "InvokeModel", true, false, func(_ *account, r *record) {
		r.RequestParameters = map[string]any{"modelId": "example.large-1-v1:0"}
	}},
	"GetItem": {"dynamodb", "GetItem", true, true, func(a *account, r *record) {
		r.RequestParameters = map[string]any{"tableName": fmt.Sprintf("table-%d", a.IntN(12)), "key": map[string]any{"id": "id-1"}, "consistentRead": false}
		r.Resources = a.arn("AWS::DynamoDB::Table", "dynamodb", "table/table-%d")
	}},
	"DescribeInstances": {"ec2", "DescribeInstances", true, false, func(a *account, r *record) {
		r.RequestParameters = map[string]any{"instancesSet": map[string]any{"items": []any{map[string]any{"instanceId": a.thing("i")}}}, "filterSet": map[string]any{}}
	}},
	"RunInstances": {"ec2", "RunInstances", false, false, func(a *account, r *record) {
		r.RequestParameters = map[string]any{"instanceType": "t3.micro", "instancesSet": map[string]any{"items": []any{map[string]any{"imageId": a.thing("ami"), "minCount": 1, "maxCount": 1}}}}
		r.ResponseElements = map[string]any{"instancesSet": map[string]any{"items": []any{map[string]any{"instanceId": a.thing("i")}}}}
	}},
	"CreateSnapshot": {"ec2", "CreateSnapshot", false, false, func(a *account, r *record) {
		r.RequestParameters = map[string]any{"volumeId": a.thing("vol"), "description": "nightly – über alles \"gut\"\n"}
		r.ResponseElements = map[string]any{"snapshotId": a.thing("snap"), "encrypted": true, "progress": nil}
	}},
	"ListUsers": {"iam", "ListUsers", true, false, func(*account, *record) {}},
	"AssumeRole": {"sts", "AssumeRole", true, false, func(a *account, r *record) {
		role := fmt.Sprintf("arn:aws:iam::%s:role/tool-%d", accountID, a.IntN(8))
		r.RequestParameters = map[string]any{"roleArn": role, "roleSessionName": "orchestrator", "durationSeconds": 900}
		r.ResponseElements = a.issued()
		r.Resources = []resource{{accountID, "AWS::IAM::Role", role}}
	}},
	"AssumeRoleWithWebIdentity": {"sts", "AssumeRoleWithWebIdentity", true, false, func(a *account, r *record) {
		r.RequestParameters = map[string]any{"roleArn": "arn:aws:iam::" + accountID + ":role/ci", "roleSessionName": "ci"}
		r.ResponseElements = a.issued()
	}},
}

// Object fills in an access to one object of S3.
func (a *account) object(r *record, in, out int) {
	bucket := fmt.Sprintf("acme-%s", []string{"invoices", "tickets", "exports", "backups"}[a.IntN(4)])
	key := fmt.Sprintf("2026/%02d/%05d.json", 1+a.IntN(12), a.IntN(3000))
	r.RequestParameters = map[string]any{"bucketName": bucket, "Host": bucket + ".s3." + region + ".amazonaws.com", "key": key}
	r.AdditionalData = map[string]any{"SignatureVersion": "SigV4", "CipherSuite": "TLS_AES_128_GCM_SHA256", "AuthenticationMethod": "AuthHeader", "bytesTransferredIn": in, "bytesTransferredOut": out}
	r.Resources = []resource{{"", "AWS::S3::Object", "arn:aws:s3:::" + bucket + "/" + key}, {accountID, "AWS::S3::Bucket", "arn:aws:s3:::" + bucket}}
}

func (a *account) size() int { return int(4096 * (1 + 10*a.ExpFloat64())) }

// Issued is the answer with a new credential.
func (a *account) issued() map[string]any {
	return map[string]any{"credentials": map[string]any{"accessKeyId": *a.key(), "sessionToken": "masked", "expiration": "Jan 5, 2026, 6:30:22 PM"}}
}

// Arn names one of twelve resources; format takes its number.
func (a *account) arn(kind, service, format string) []resource {
	name := fmt.Sprintf(format, a.IntN(12))
	return []resource{{accountID, kind, "arn:aws:" + service + ":" + region + ":" + accountID + ":" + name}}
}
