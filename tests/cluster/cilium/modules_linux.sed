# Treats a missing /proc/modules as an empty list of loaded modules.
/fModules, err := os.Open(loadedModulesFilepath)/a\
	if errors.Is(err, os.ErrNotExist) {\
		return nil, nil\
	}
