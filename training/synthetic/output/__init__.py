"""Files that are written: pictures with labels and a contact sheet, clips and bags."""
