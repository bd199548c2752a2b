package emit

// Text is text for tests.
var Text = text
