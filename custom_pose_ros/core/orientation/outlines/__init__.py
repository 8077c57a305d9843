"""An object measured by its outline: where its edges are from all around, and how an image agrees with them."""
