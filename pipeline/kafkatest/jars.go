package kafkatest

import (
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/estop-project/estop/pipeline/embedded/sourcetree"
)

// errMissing says what this machine lacks to run Apache Kafka.
var errMissing = errors.New("cannot run Apache Kafka here")

// Jars returns the folder with the broker's jars, for programs that run brokers of their own. The first need downloads them.
func Jars() (string, error) { return findJars() }

// findJars returns the folder with the broker's jars, which it downloads with mvn at the first need into
// .cache/kafka/<version>/libs of the module.
func findJars() (string, error) {
	root, err := sourcetree.Root()
	if err != nil {
		return "", err
	}
	pom := filepath.Join(root, "pipeline", "kafkatest", "pom.xml")
	version, err := kafkaVersion(pom)
	if err != nil {
		return "", err
	}
	home := filepath.Join(root, ".cache", "kafka", version)
	libs := filepath.Join(home, "libs")
	if isDir(libs) {
		return libs, nil
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", fmt.Errorf("%w: no jars in %s and no mvn to fetch them", errMissing, libs)
	}
	return libs, download(mvn, pom, home, libs)
}

// download fills libs. Test binaries of several packages may come here at once: the lock lets one of them do it,
// and the rename shows the folder only when it is whole.
func download(mvn, pom, home, libs string) error {
	if err := os.MkdirAll(home, 0o755); err != nil {
		return fmt.Errorf("cannot create the cache for Kafka's jars: %w", err)
	}
	lock, err := os.Create(filepath.Join(home, "lock"))
	if err != nil {
		return fmt.Errorf("cannot create the lock of Kafka's jars: %w", err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("cannot lock Kafka's jars: %w", err)
	}
	if isDir(libs) {
		return nil
	}
	part, err := os.MkdirTemp(home, "part-")
	if err != nil {
		return fmt.Errorf("cannot create a folder for Kafka's jars: %w", err)
	}
	defer os.RemoveAll(part)
	out, err := exec.Command(mvn, "-q", "-B", "-f", pom, "dependency:copy-dependencies",
		"-DoutputDirectory="+part, "-DincludeScope=runtime").CombinedOutput()
	if err != nil {
		return fmt.Errorf("cannot fetch Kafka's jars: %w: %s", err, out)
	}
	if err := os.Chmod(part, 0o755); err != nil {
		return fmt.Errorf("cannot open the folder of Kafka's jars: %w", err)
	}
	return os.Rename(part, libs)
}

func kafkaVersion(pom string) (string, error) {
	raw, err := os.ReadFile(pom)
	if err != nil {
		return "", fmt.Errorf("cannot read Kafka's version: %w", err)
	}
	var project struct {
		Version string `xml:"properties>kafka.version"`
	}
	if err := xml.Unmarshal(raw, &project); err != nil {
		return "", fmt.Errorf("cannot parse %s: %w", pom, err)
	}
	if project.Version == "" {
		return "", fmt.Errorf("no kafka.version in %s", pom)
	}
	return project.Version, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
