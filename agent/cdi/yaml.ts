/** A module of its own, loaded once a node has a file in YAML: an agent without one does not carry the reader. */
export { parse } from 'yaml';
