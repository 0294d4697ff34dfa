package frame

// Layers is what Parse found in a frame.
type Layers struct{}
