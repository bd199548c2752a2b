package detector

import (
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// comment is one comment of a detector file. The parser gives comments too, but loses some and
// moves others, so they are found here in the text, with the help of where the parser found texts.
type comment struct {
	at    place
	text  string
	alone bool // nothing else stands on its line
	blank bool // a blank line stands directly in front of it
}

// block is where a literal or folded text stands: its lines, from 1, and their indentation.
type block struct{ first, last, indent int }

// mark notes where quoted and block texts are: what looks like a comment there is none. outer is
// the indentation of what holds the node.
func (f *formatter) mark(n *yaml.Node, outer int) {
	switch n.Kind {
	case yaml.ScalarNode:
		switch {
		case n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
			f.markQuoted(n)
		case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
			f.markBlock(n, outer)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			f.mark(n.Content[i], outer)
			f.mark(n.Content[i+1], n.Content[i].Column-1)
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			f.mark(item, n.Column-1)
		}
	}
}

func (f *formatter) markQuoted(n *yaml.Node) {
	p := place{n.Line, n.Column}
	quote := f.char(p)
	if quote != '"' && quote != '\'' {
		return
	}
	f.inside[p] = true
	for p = f.next(p); p.line <= len(f.chars); p = f.next(p) {
		f.inside[p] = true
		c := f.char(p)
		following := place{p.line, p.column + 1}
		switch {
		case c == '\\' && quote == '"', c == quote && quote == '\'' && f.char(following) == quote:
			if f.char(following) != 0 {
				p = following
				f.inside[p] = true
			}
		case c == quote:
			return
		}
	}
}

func (f *formatter) markBlock(n *yaml.Node, outer int) {
	b := &block{first: n.Line + 1, last: n.Line, indent: -1}
	for _, c := range f.chars[n.Line-1][min(n.Column-1, len(f.chars[n.Line-1])):] {
		if c == '#' {
			break
		}
		if unicode.IsDigit(c) {
			b.indent = max(outer, 0) + int(c-'0')
		}
	}
	for line := b.first; line <= len(f.chars); line++ {
		text := f.lines[line-1]
		indent := len(text) - len(strings.TrimLeft(text, " "))
		if strings.Trim(text, " ") != "" {
			if b.indent < 0 {
				b.indent = indent
			}
			if indent < b.indent || indent <= outer {
				break
			}
			b.last = line
		}
		for column := range f.chars[line-1] {
			f.inside[place{line, column + 1}] = true
		}
	}
	f.blocks[n] = b
}

// close finds the closing brackets of collections.
func (f *formatter) close(n *yaml.Node) {
	for _, kid := range n.Content {
		f.close(kid)
	}
	if n.Style&yaml.FlowStyle == 0 || n.Kind == yaml.ScalarNode {
		return
	}
	depth := 0
	for p := (place{n.Line, n.Column}); p.line <= len(f.chars); p = f.next(p) {
		if f.inside[p] {
			continue
		}
		switch f.char(p) {
		case '#':
			if f.begins(p) {
				p.column = len(f.chars[p.line-1])
			}
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth == 0 {
				f.ends[n] = p
				return
			}
		}
	}
}

// char returns the character at a place, 0 behind the end of a line.
func (f *formatter) char(p place) rune {
	if p.line > len(f.chars) || p.column > len(f.chars[p.line-1]) {
		return 0
	}
	return f.chars[p.line-1][p.column-1]
}

// next returns the place behind p, at the end of a line the begin of the next.
func (f *formatter) next(p place) place {
	if p.column >= len(f.chars[p.line-1]) {
		return place{p.line + 1, 1}
	}
	return place{p.line, p.column + 1}
}

// begins says whether the # at a place begins a comment.
func (f *formatter) begins(p place) bool {
	return p.column == 1 || f.char(place{p.line, p.column - 1}) == ' ' || f.char(place{p.line, p.column - 1}) == '\t'
}

// comments returns all comments of the file, in order.
func (f *formatter) comments() []comment {
	var all []comment
	for i, chars := range f.chars {
		for j, c := range chars {
			p := place{i + 1, j + 1}
			if c != '#' || f.inside[p] || !f.begins(p) {
				continue
			}
			front := strings.TrimSpace(string(chars[:j]))
			text := strings.TrimRightFunc(string(chars[j:]), unicode.IsSpace)
			all = append(all, comment{p, text, front == "", f.blankAbove(p.line)})
			break
		}
	}
	return all
}

// remarks are the texts of all comments, sorted.
func (f *formatter) remarks() []string {
	var texts []string
	for _, c := range f.comments() {
		texts = append(texts, c.text)
	}
	slices.Sort(texts)
	return texts
}

func (f *formatter) blankAbove(line int) bool {
	return line > 1 && strings.TrimSpace(f.lines[line-2]) == ""
}

// separates says whether a line parts two documents.
func (f *formatter) separates(line int) bool {
	text := f.lines[line-1]
	return !f.inside[place{line, 1}] && (text == "---" || text == "..." || strings.HasPrefix(text, "--- ") || strings.HasPrefix(text, "... "))
}

// attach gives each comment to the part that it stands at.
func (f *formatter) attach(docs []*part) {
	var all []*part // in the order of the text
	var walk func(p *part)
	walk = func(p *part) {
		for _, kid := range p.kids {
			kid.blank = f.blankAbove(kid.at.line)
			all = append(all, kid)
			walk(kid)
		}
	}
	for _, doc := range docs {
		walk(doc)
	}
	for _, c := range f.comments() {
		f.give(c, all)
	}
}

func (f *formatter) give(c comment, all []*part) {
	i, _ := slices.BinarySearchFunc(all, c.at, func(p *part, at place) int {
		if p.at.before(at) {
			return -1
		}
		return 1
	})
	earlier, later := all[:i], all[i:]
	if !c.alone {
		if p := f.trailed(c, earlier); p != nil {
			p.trail = &c
			p.opens()
			return
		}
	}
	var next *part
	if len(later) > 0 {
		next = later[0]
		for line := c.at.line + 1; line <= next.at.line && len(earlier) > 0; line++ {
			if f.separates(line) {
				next = nil
				break
			}
		}
	}
	if p := f.footed(c, earlier, next); p != nil {
		p.foot = append(p.foot, c)
		p.opens()
		return
	}
	if next == nil {
		if len(earlier) == 0 { // a file of comments alone
			return
		}
		last := earlier[len(earlier)-1]
		for last.up.up != nil {
			last = last.up
		}
		last.foot = append(last.foot, c)
		return
	}
	next.head = append(next.head, c)
	next.opens()
}

// opens notes that the part has comments.
func (p *part) opens() {
	for up := p.up; up != nil; up = up.up {
		up.open = true
	}
}

// trailed finds the part that a comment stands behind: the last one before it that is not in
// brackets which are closed already.
func (f *formatter) trailed(c comment, earlier []*part) *part {
	for _, p := range slices.Backward(earlier) {
		closed := false
		for up := p.up; up != nil; up = up.up {
			end, flow := f.ends[up.value]
			closed = closed || flow && end.before(c.at)
		}
		if closed {
			continue
		}
		if p.trail != nil || f.separates(c.at.line) && p.at.line < c.at.line {
			return nil
		}
		return p
	}
	return nil
}

// footed finds the part at whose end a comment stands: it is indented deeper than what comes next.
func (f *formatter) footed(c comment, earlier []*part, next *part) *part {
	outer := 0
	if next != nil {
		outer = next.column
	}
	if c.at.column <= outer {
		return nil
	}
	if next != nil && len(earlier) > 0 && earlier[len(earlier)-1] == next.up {
		return nil // it stands before the first entry
	}
	for _, p := range slices.Backward(earlier) {
		if next != nil && p.top() != next.top() {
			return nil
		}
		if p.column > outer && p.column <= c.at.column {
			return p
		}
	}
	return nil
}

func (p *part) top() *part {
	for p.up != nil {
		p = p.up
	}
	return p
}
