"""What is written: pictures with labels, clips, bags and contact sheets."""
