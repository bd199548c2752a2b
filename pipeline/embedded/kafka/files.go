package kafka

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The files of kfake's data directory that recovery and retention know. TestDirectoryIsAsExpected holds them
// against the version of kfake in go.mod.
func topicsFile(dir string) string      { return filepath.Join(dir, "topics.json") }
func sequencesFile(dir string) string   { return filepath.Join(dir, "seq_windows.json") }
func partitionsDir(dir string) string   { return filepath.Join(dir, "partitions") }
func indexOf(segmentPath string) string { return strings.TrimSuffix(segmentPath, ".dat") + ".idx" }

func partitionDir(dir, topic string, partition int32) string {
	return filepath.Join(partitionsDir(dir), url.PathEscape(topic)+"-"+strconv.Itoa(int(partition)))
}

// storedTopic is a topic as kfake keeps it.
type storedTopic struct {
	Name       string            `json:"name"`
	Partitions int32             `json:"partitions"`
	Configs    map[string]string `json:"configs"`
}

func (t storedTopic) compacted() bool {
	return strings.Contains(t.Configs["cleanup.policy"], "compact")
}

func storedTopics(dir string) ([]storedTopic, error) {
	raw, err := os.ReadFile(topicsFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the topics: %w", err)
	}
	var stored struct {
		Topics []storedTopic `json:"topics"`
	}
	if err := json.Unmarshal(raw, &stored); err != nil {
		return nil, fmt.Errorf("cannot parse the topics: %w", err)
	}
	return stored.Topics, nil
}

// segment is one segment file of a partition.
type segment struct {
	path string
	base int64 // offset of its first record
	size int64
}

// segments returns a partition's segment files, oldest first; none if it has no folder yet.
func segments(pdir string) ([]segment, error) {
	entries, err := os.ReadDir(pdir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list segments: %w", err)
	}
	var found []segment
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".dat")
		if !ok || e.IsDir() {
			continue
		}
		base, err := strconv.ParseInt(name, 10, 64)
		if err != nil {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("cannot look at a segment: %w", err)
		}
		found = append(found, segment{path: filepath.Join(pdir, e.Name()), base: base, size: info.Size()})
	}
	slices.SortFunc(found, func(a, b segment) int { return int(min(max(a.base-b.base, -1), 1)) })
	return found, nil
}

// writeFileAtomic replaces path with data; a reader sees the old or the new content, never a part.
func writeFileAtomic(path string, data []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return fmt.Errorf("cannot write %q: %w", tmp, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("cannot replace %q: %w", path, err)
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
