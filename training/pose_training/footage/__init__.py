"""Labels for the frames of a film: carried from a few clicked ones, or proposed by a network over time."""
