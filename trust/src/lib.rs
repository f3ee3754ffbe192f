//! Who is it, and is it signed: DIDs, JOSE, self-issued tokens, agreement dossiers.
