"""Sites compare what they hold without sending it: fingerprints, questions, pages of stamps."""
