#!/bin/sh
# Runs every fuzz target of the repository for the given number of inputs or time.
set -eu

grep -rE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+\(' . |
	sed -E 's|/[^/]+_test\.go:func (Fuzz[A-Za-z0-9_]+).*| \1|' | sort -u |
	while read -r dir target; do
		echo "fuzz $dir $target"
		# Else a short run is spent on making its first finds smaller.
		go test -fuzzminimizetime=10x -run='^$' -fuzz="^$target\$" -fuzztime="${1:-200000x}" "$dir" </dev/null
	done
