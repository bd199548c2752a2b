package main

import (
	"slices"
	"strings"
)

// phase is a phase of an attack, and the tags that tell it: tactics, and techniques for files that
// name no tactic.
type phase struct {
	name string
	tags []string
}

// phases are in the order in which attacks go through them. Of several that a detector's tags name, the
// first tag that names one decides.
var phases = []phase{
	{"Reconnaissance", []string{"attack.reconnaissance", "attack.discovery", "attack.t1087", "attack.t1580", "attack.t1083"}},
	{"Initial access", []string{"attack.initial-access", "attack.t1199", "attack.t1078"}},
	{"Execution of foreign goals", []string{"attack.execution", "attack.t1059"}},
	{"Credential access", []string{"attack.credential-access"}},
	{"Privilege escalation", []string{"attack.privilege-escalation", "attack.t1098"}},
	{"Persistence", []string{"attack.persistence"}},
	{"Defence evasion", []string{"attack.defense-evasion"}},
	{"Lateral movement", []string{"attack.lateral-movement", "attack.t1021"}},
	{"Command of agents by agents", []string{"attack.command-and-control"}},
	{"Collection", []string{"attack.collection", "attack.t1213", "attack.t1530"}},
	{"Exfiltration", []string{"attack.exfiltration", "attack.t1029", "attack.t1567"}},
	{"Impact", []string{"attack.t1485", "attack.t1657"}},
	{"Runaway agents", []string{"attack.impact", "attack.t1496", "attack.t1499"}},
}

// phase returns the index of a detector's phase, -1 where no tag tells it.
func (e entry) phase() int {
	if slices.Contains(e.Tags, "attack.t1485") || slices.Contains(e.Tags, "attack.t1657") {
		return len(phases) - 2 // destruction and theft, which have the tactic of runaway agents
	}
	for _, tag := range e.Tags {
		if i := slices.IndexFunc(phases, func(p phase) bool { return slices.Contains(p.tags, tag) }); i >= 0 {
			return i
		}
	}
	return -1
}

// names are those of MITRE ATT&CK, MITRE ATLAS and the OWASP Top 10 for Agentic Applications.
var names = map[string]string{
	"attack.t1021": "Remote Services", "attack.t1029": "Scheduled Transfer", "attack.t1053": "Scheduled Task/Job", "attack.t1059": "Command and Scripting Interpreter",
	"attack.t1070": "Indicator Removal", "attack.t1078": "Valid Accounts", "attack.t1083": "File and Directory Discovery", "attack.t1087": "Account Discovery",
	"attack.t1090": "Proxy", "attack.t1098": "Account Manipulation", "attack.t1104": "Multi-Stage Channels", "attack.t1110": "Brute Force", "attack.t1134": "Access Token Manipulation",
	"attack.t1136": "Create Account", "attack.t1199": "Trusted Relationship", "attack.t1213": "Data from Information Repositories", "attack.t1484": "Domain or Tenant Policy Modification",
	"attack.t1485": "Data Destruction", "attack.t1490": "Inhibit System Recovery", "attack.t1496": "Resource Hijacking", "attack.t1499": "Endpoint Denial of Service",
	"attack.t1526": "Cloud Service Discovery", "attack.t1530": "Data from Cloud Storage", "attack.t1534": "Internal Spearphishing", "attack.t1537": "Transfer Data to Cloud Account",
	"attack.t1546": "Event Triggered Execution", "attack.t1550": "Use Alternate Authentication Material", "attack.t1552": "Unsecured Credentials",
	"attack.t1555": "Credentials from Password Stores", "attack.t1562": "Impair Defenses", "attack.t1566": "Phishing", "attack.t1567": "Exfiltration Over Web Service",
	"attack.t1580": "Cloud Infrastructure Discovery", "attack.t1595": "Active Scanning", "attack.t1651": "Cloud Administration Command", "attack.t1657": "Financial Theft",

	"atlas.aml.t0012": "Valid Accounts", "atlas.aml.t0024": "Exfiltration via AI Inference API", "atlas.aml.t0025": "Exfiltration via Cyber Means", "atlas.aml.t0029": "Denial of AI Service",
	"atlas.aml.t0034": "Cost Harvesting", "atlas.aml.t0036": "Data from Information Repositories", "atlas.aml.t0040": "AI Model Inference API Access",
	"atlas.aml.t0051": "LLM Prompt Injection", "atlas.aml.t0053": "AI Agent Tool Invocation", "atlas.aml.t0055": "Unsecured Credentials",
	"atlas.aml.t0084": "Discover AI Agent Configuration", "atlas.aml.t0086": "Exfiltration via AI Agent Tool Invocation",

	"owasp.agentic.asi01": "Agent Goal Hijack", "owasp.agentic.asi02": "Tool Misuse and Exploitation", "owasp.agentic.asi03": "Identity and Privilege Abuse",
	"owasp.agentic.asi05": "Unexpected Code Execution", "owasp.agentic.asi07": "Insecure Inter-Agent Communication", "owasp.agentic.asi08": "Cascading Failures",
	"owasp.agentic.asi09": "Human-Agent Trust Exploitation", "owasp.agentic.asi10": "Rogue Agents",
}

// tactics are those that a tag may name, with their numbers.
var tactics = map[string]string{
	"reconnaissance": "TA0043", "discovery": "TA0007", "initial-access": "TA0001", "credential-access": "TA0006", "privilege-escalation": "TA0004", "persistence": "TA0003",
	"defense-evasion": "TA0005", "lateral-movement": "TA0008", "command-and-control": "TA0011", "collection": "TA0009", "exfiltration": "TA0010", "impact": "TA0040", "execution": "TA0002",
}

// explain returns what a tag is called and where it is explained.
func explain(tag string) (name, link string, ok bool) {
	if id, is := strings.CutPrefix(tag, "attack."); is {
		if number, ok := tactics[id]; ok {
			return "ATT&CK " + strings.ReplaceAll(id, "-", " "), "https://attack.mitre.org/tactics/" + number + "/", true
		}
		name, ok = names[tag]
		id = strings.ToUpper(id)
		return "ATT&CK " + id + " " + name, "https://attack.mitre.org/techniques/" + strings.ReplaceAll(id, ".", "/") + "/", ok
	}
	name, ok = names[tag]
	if id, is := strings.CutPrefix(tag, "atlas."); is {
		id = strings.ToUpper(id)
		return "ATLAS " + id + " " + name, "https://atlas.mitre.org/techniques/" + id, ok
	}
	id := strings.ToUpper(strings.TrimPrefix(tag, "owasp.agentic."))
	return "OWASP " + id + " " + name, "https://genai.owasp.org/resource/owasp-top-10-for-agentic-applications-for-2026/", ok
}
