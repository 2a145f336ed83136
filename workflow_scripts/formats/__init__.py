"""Files of every kind as images: members of archives, PNG, JPEG, DICOM; readers behind one interface."""
