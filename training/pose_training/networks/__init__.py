"""Network files: checkpoints, published weights, exported networks and the objects they carry."""
