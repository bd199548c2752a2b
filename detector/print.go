package detector

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxWidth is up to how many characters a list or a mapping stands on one line, if no rule says
// that it always does.
const maxWidth = 100

// onOneLine are the mappings that stand on one line however long it is, by the keys that lead
// to them: groups of calls are read as the rows of a table.
var onOneLine = []string{"warmup", "response", "tests.calls", "tests.expect"}

// onLines are the lists and mappings whose entries have lines of their own.
var onLines = []string{"", "references", "tests", "exceptions"}

// printer writes the parts of a file.
type printer struct {
	*formatter
	b     strings.Builder
	first bool // nothing stands above in the same collection
}

func (f *formatter) print(docs []*part) string {
	p := &printer{formatter: f}
	for i, doc := range docs {
		if i > 0 {
			p.b.WriteString("---\n")
		}
		p.header(doc)
		p.entries(doc, 0)
	}
	if len(docs) == 0 { // comments alone
		for _, c := range f.comments() {
			p.b.WriteString(c.text + "\n")
		}
	}
	return p.b.String()
}

// modeline begins the comment that tells an editor of the schema.
const modeline = "# yaml-language-server:"

// header writes the comments that are about the document and not about its first entry: a line
// for the editor, and what a blank line parts from the entry.
func (p *printer) header(doc *part) {
	p.first = true
	if len(doc.kids) == 0 {
		return
	}
	entry := doc.kids[0]
	n := 0
	for i, c := range entry.head {
		parted := entry.blank
		if i+1 < len(entry.head) {
			parted = entry.head[i+1].blank
		}
		if parted || n == i && strings.HasPrefix(c.text, modeline) {
			n = i + 1
		}
	}
	p.comments(entry.head[:n], 0)
	entry.head = entry.head[n:]
	blank := entry.blank
	if len(entry.head) > 0 {
		blank, entry.head[0].blank = entry.head[0].blank, false
	} else {
		entry.blank = false
	}
	if n > 0 && blank {
		p.b.WriteByte('\n')
	}
	p.first = true
}

// comments writes comments on lines of their own.
func (p *printer) comments(cs []comment, indent int) {
	for _, c := range cs {
		p.blank(c.blank)
		p.line(indent, c.text)
	}
}

// blank writes a blank line if there is to be one, but none at the begin of a collection.
func (p *printer) blank(wanted bool) {
	if wanted && !p.first {
		p.b.WriteByte('\n')
	}
}

func (p *printer) line(indent int, text string) {
	p.b.WriteString(strings.Repeat(" ", indent) + text + "\n")
	p.first = false
}

// entries writes the entries of a mapping or the items of a list, each on lines of its own.
func (p *printer) entries(of *part, indent int) {
	p.first = true
	for i, kid := range of.sorted() {
		p.above(kid, indent, i)
		lead := "- "
		if kid.key != nil {
			lead = p.key(kid) + ":"
		}
		p.entry(kid, indent, strings.Repeat(" ", indent)+lead)
		p.comments(kid.foot, indent)
	}
}

// above writes what stands in front of an entry.
func (p *printer) above(kid *part, indent, i int) {
	head, blank := kid.head, kid.blank
	if kid.trail != nil && !kid.trails(p) {
		head = append(slices.Clone(head), comment{text: kid.trail.text, blank: kid.blank})
		blank = false
	}
	if kid.key == nil && !p.flows(kid, 0) && kid.value.Kind == yaml.MappingNode && len(kid.kids) > 0 {
		// The first entry of an item stands behind the hyphen, so what is above it goes above that.
		if inner := kid.sorted()[0]; len(inner.head) > 0 || inner.trail != nil && !inner.trails(p) {
			lift := slices.Clone(inner.head)
			lift[0].blank = lift[0].blank && len(head) > 0
			if len(head) == 0 {
				lift[0].blank = blank
				blank = inner.blank
			}
			head = append(slices.Clone(head), lift...)
			inner.head = nil
		}
	}
	if apart := kid.path == "tests" && (kid.key != nil || i > 0); apart {
		if len(head) > 0 {
			head = slices.Clone(head)
			head[0].blank = true
		} else {
			blank = true
		}
	}
	p.comments(head, indent)
	p.blank(blank)
}

// trails says whether a comment can stand behind the part on its line.
func (kid *part) trails(p *printer) bool {
	return kid.key != nil || p.flows(kid, 0) || kid.value.Kind == yaml.ScalarNode
}

// entry writes one entry, the begin of whose line is lead.
func (p *printer) entry(kid *part, indent int, lead string) {
	n := kid.value
	trail := ""
	if kid.trail != nil && kid.trails(p) {
		trail = " " + kid.trail.text
	}
	p.first = false
	space := ""
	if kid.key != nil {
		space = " "
	}
	switch {
	case n.Kind == yaml.ScalarNode:
		text := p.scalar(kid, indent, utf8.RuneCountInString(lead)+len(space))
		first, rest, _ := strings.Cut(text, "\n")
		p.b.WriteString(strings.TrimRight(lead+space+first, " ") + trail + "\n")
		if rest != "" {
			p.b.WriteString(rest + "\n")
		}
	case p.flows(kid, utf8.RuneCountInString(lead)+len(space)):
		p.b.WriteString(lead + space + p.flow(kid) + trail + "\n")
	case kid.key == nil && n.Kind == yaml.MappingNode:
		p.behindHyphen(kid, indent)
	case kid.key == nil:
		p.b.WriteString(strings.TrimRight(lead, " ") + "\n")
		p.entries(kid, indent+2)
	default:
		p.b.WriteString(lead + trail + "\n")
		p.entries(kid, indent+2)
	}
	p.first = false
}

// behindHyphen writes a mapping that is an item: its first entry stands behind the hyphen.
func (p *printer) behindHyphen(item *part, indent int) {
	for i, kid := range item.sorted() {
		lead := strings.Repeat(" ", indent) + "- "
		if i > 0 {
			p.above(kid, indent+2, i)
			lead = strings.Repeat(" ", indent+2)
		}
		p.entry(kid, indent+2, lead+p.key(kid)+":")
		p.comments(kid.foot, indent+2)
	}
}

// flows says whether a collection stands on one line, behind so many characters.
func (p *printer) flows(kid *part, before int) bool {
	n := kid.value
	if n.Kind == yaml.ScalarNode {
		return false
	}
	if len(kid.kids) == 0 {
		return true
	}
	if kid.open {
		return false
	}
	fits := func() bool { return before+utf8.RuneCountInString(p.flow(kid)) <= maxWidth }
	inList := kid.key == nil
	switch {
	case n.Kind == yaml.MappingNode && slices.Contains(onOneLine, kid.path):
		return true
	case n.Kind == yaml.MappingNode && kid.path == "baseline" && inList:
		return len(kid.kids) > 1
	case slices.Contains(onLines, kid.path), n.Kind == yaml.SequenceNode && slices.Contains([]string{"tests.calls", "baseline"}, kid.path):
		return false
	case n.Kind == yaml.SequenceNode && !slices.ContainsFunc(kid.kids, func(k *part) bool { return k.value.Kind != yaml.ScalarNode || strings.Contains(k.value.Value, "\n") }):
		return fits()
	}
	return n.Style&yaml.FlowStyle != 0 && fits()
}

// flow returns a part on one line.
func (p *printer) flow(kid *part) string {
	var inner []string
	for _, k := range kid.sorted() {
		text := p.flow(k)
		if k.key != nil {
			text = strings.TrimRight(p.quoted(k.key, "{%s: 1}")+": "+text, " ")
		}
		inner = append(inner, text)
	}
	switch kid.value.Kind {
	case yaml.MappingNode:
		return "{" + strings.Join(inner, ", ") + "}"
	case yaml.SequenceNode:
		return "[" + strings.Join(inner, ", ") + "]"
	}
	if isNull(kid.value) && kid.value.Value == "" {
		return "null"
	}
	return p.quoted(kid.value, "{k: %s}")
}

func (p *printer) key(kid *part) string { return p.quoted(kid.key, "%s: 1") }

// scalar returns a text on one line, or as a block with its lines indented.
func (p *printer) scalar(kid *part, indent, before int) string {
	n := kid.value
	if b := p.blocks[n]; b != nil {
		if text, ok := p.block(n, b, indent+2); ok {
			return text
		}
	}
	in := "k: %s"
	if kid.key == nil {
		in = "- %s"
		if isNull(n) && n.Value == "" {
			return "null"
		}
	}
	text := p.quoted(n, in)
	if before+utf8.RuneCountInString(text) > maxWidth && p.onSeveralLines(n) {
		if folded, ok := p.fold(n.Value, indent+2); ok {
			return folded
		}
	}
	return text
}

// block returns a literal or folded text as it stands in the file, indented anew; ok is false
// where that would need more than the usual marks.
func (p *printer) block(n *yaml.Node, b *block, indent int) (text string, ok bool) {
	mark, chomp := "|", ""
	if n.Style&yaml.FoldedStyle != 0 {
		mark = ">"
	}
	switch body := strings.TrimRight(n.Value, "\n"); {
	case body == "" || strings.ContainsAny(body[:1], " \t\n"):
		return "", false
	case len(n.Value) == len(body):
		chomp = "-"
	case len(n.Value) > len(body)+1:
		return "", false
	}
	lines := []string{mark + chomp}
	for i := b.first; i <= b.last; i++ {
		line := p.lines[i-1]
		if strings.ContainsFunc(line, func(c rune) bool { return c != '\t' && !unicode.IsPrint(c) }) {
			return "", false
		}
		if strings.TrimSpace(line) == "" && strings.Contains(line, "\t") { // at the end of a file it is no line of the text
			return "", false
		}
		if len(line) <= b.indent {
			lines = append(lines, "")
			continue
		}
		lines = append(lines, strings.Repeat(" ", indent)+line[b.indent:])
	}
	return strings.Join(lines, "\n"), true
}

// onSeveralLines says whether a text that is no block goes over the end of its line.
func (p *printer) onSeveralLines(n *yaml.Node) bool {
	return p.blocks[n] == nil && !strings.Contains(p.lines[n.Line-1], n.Value)
}

// fold breaks a text of one line into a folded block.
func (p *printer) fold(text string, indent int) (folded string, ok bool) {
	words := strings.Split(text, " ")
	if slices.Contains(words, "") || strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return "", false
	}
	lines := []string{">-"}
	line := ""
	for _, w := range words {
		if line != "" && indent+utf8.RuneCountInString(line)+1+utf8.RuneCountInString(w) > maxWidth {
			lines = append(lines, strings.Repeat(" ", indent)+line)
			line = w
			continue
		}
		line = strings.TrimLeft(line+" "+w, " ")
	}
	return strings.Join(append(lines, strings.Repeat(" ", indent)+line), "\n"), true
}

// plainText is a text, and where it is to stand without quotes.
type plainText struct{ text, in string }

// quoted returns a scalar with quotes if it needs them where it stands.
func (p *printer) quoted(n *yaml.Node, in string) string {
	if n.Tag != "!!str" {
		return n.Value // a number or a date has none
	}
	key := plainText{n.Value, in}
	plain, ok := p.plain[key]
	if !ok {
		plain = isPlain(n.Value, in)
		p.plain[key] = plain
	}
	isQuoted := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
	if plain && !(isQuoted && otherwise.MatchString(n.Value)) {
		return n.Value
	}
	return quote(n.Value)
}

// otherwise are texts that some parsers take for true or false, or for a time.
var otherwise = regexp.MustCompile(`^((?i)y|n|yes|no|on|off|[0-9]+:.*)$`)

// isPlain asks the parser whether a text without quotes is that text. In brackets a colon needs
// quotes too: other parsers, and people, take it for the end of a key.
func isPlain(text, in string) bool {
	if text == "" || in[0] == '{' && strings.Contains(text, ":") || strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) || strings.TrimSpace(text) != text {
		return false
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(fmt.Sprintf(in, text)), &doc); err != nil || len(doc.Content) != 1 {
		return false
	}
	n := doc.Content[0]
	for n.Kind != yaml.ScalarNode {
		switch {
		case n.Kind == yaml.SequenceNode && len(n.Content) == 1:
			n = n.Content[0]
		case n.Kind == yaml.MappingNode && len(n.Content) == 2 && strings.HasPrefix(strings.TrimPrefix(in, "{"), "k: "):
			n = n.Content[1]
		case n.Kind == yaml.MappingNode && len(n.Content) == 2:
			n = n.Content[0]
		default:
			return false
		}
	}
	return n.Tag == "!!str" && n.Value == text && n.Anchor == "" && n.Style == 0 && n.HeadComment+n.LineComment+n.FootComment == ""
}

// quote puts a text in double quotes, or in single ones where those need no backslash.
func quote(text string) string {
	printable := !strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) })
	if printable && strings.ContainsAny(text, `"\`) {
		return "'" + strings.ReplaceAll(text, "'", "''") + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			b.WriteString(`\` + string(c))
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(c):
			b.WriteRune(c)
		case c < 0x100:
			fmt.Fprintf(&b, `\x%02X`, c)
		case c < 0x10000:
			fmt.Fprintf(&b, `\u%04X`, c)
		default:
			fmt.Fprintf(&b, `\U%08X`, c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
