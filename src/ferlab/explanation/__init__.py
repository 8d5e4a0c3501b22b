"""Attribution maps of single faces, their mass per region of the face, and their validation on control faces."""
