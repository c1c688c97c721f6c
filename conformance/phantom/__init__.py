"""A maker of chest CTs whose nodules are known: anatomy by seed, scanner by choice, truth beside the images."""
