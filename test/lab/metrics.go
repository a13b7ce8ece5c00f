package lab

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Sample is one line of a metrics page.
type Sample struct {
	Name   string
	Labels map[string]string
	Value  float64
}

// Metrics is a metrics page.
type Metrics []Sample

// Sum adds up the samples of a metric whose labels include those given.
func (m Metrics) Sum(name string, labels map[string]string) float64 {
	sum := 0.0
	for _, s := range m {
		if s.Name == name && includes(s.Labels, labels) {
			sum += s.Value
		}
	}
	return sum
}

// Has reports whether there is a sample of a metric whose labels include
// those given.
func (m Metrics) Has(name string, labels map[string]string) bool {
	for _, s := range m {
		if s.Name == name && includes(s.Labels, labels) {
			return true
		}
	}
	return false
}

func includes(all, some map[string]string) bool {
	for k, v := range some {
		if have, ok := all[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// parseMetrics reads the Prometheus text format as far as counters and gauges
// need it.
func parseMetrics(text string) (Metrics, error) {
	var m Metrics
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := parseSample(line)
		if err != nil {
			return nil, fmt.Errorf("reading %q: %w", line, err)
		}
		m = append(m, s)
	}
	return m, nil
}

func parseSample(line string) (Sample, error) {
	s := Sample{Labels: map[string]string{}}
	i := strings.LastIndexByte(line, ' ')
	if i < 0 {
		return s, errors.New("no value")
	}
	value, err := strconv.ParseFloat(line[i+1:], 64)
	if err != nil {
		return s, err
	}
	s.Value = value
	name, rest, labelled := strings.Cut(line[:i], "{")
	s.Name = name
	if !labelled {
		return s, nil
	}
	for rest = strings.TrimSuffix(rest, "}"); rest != ""; rest = strings.TrimPrefix(rest, ",") {
		key, quoted, ok := strings.Cut(rest, "=")
		if !ok {
			return s, fmt.Errorf("no = after label %q", rest)
		}
		prefix, err := strconv.QuotedPrefix(quoted)
		if err != nil {
			return s, fmt.Errorf("label %s: %w", key, err)
		}
		if s.Labels[key], err = strconv.Unquote(prefix); err != nil {
			return s, fmt.Errorf("label %s: %w", key, err)
		}
		rest = quoted[len(prefix):]
	}
	return s, nil
}
