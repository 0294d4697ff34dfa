package config

import "reflect"

// Parse reads a document, fills in the defaults and checks that it makes sense.
// An empty document is one without networks. The error is Faults: all of them.
func Parse(data []byte) (*Config, error) {
	root, faults := syntax(data)
	if len(faults) > 0 {
		return nil, faults.err()
	}
	c, b := new(Config), newBinder()
	if root != nil {
		b.collect(root)
		b.value("", root, reflect.ValueOf(c).Elem())
	}
	c.setDefaults(b)
	check(c, b)
	if err := b.faults.err(); err != nil {
		return nil, err
	}
	return c, nil
}
