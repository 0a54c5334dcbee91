"""From a catalogue to row keys, references and a plan."""
