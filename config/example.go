package config

import _ "embed"

// Example is the document that a fresh installation starts with.
//
//go:embed example.yaml
var Example []byte
