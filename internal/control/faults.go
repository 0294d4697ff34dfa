package control

import "strings"

// Error joins the faults, one a line.
func (f Faults) Error() string { return strings.Join(f, "\n") }

// Is makes Faults an ErrInvalid.
func (f Faults) Is(target error) bool { return target == ErrInvalid }
