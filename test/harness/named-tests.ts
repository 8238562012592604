/** ava's `test` for a file that shares its process with others: titles say which file they are of, and each test waits its turn. */
import ava from 'ava';

type Declare = (title: string, ...rest: readonly unknown[]) => void;

/** `file` is what ava would have put before the titles. There are no hooks: they would be those of all the files. */
export function namedTests(file: string): Declare & { readonly serial: Declare; readonly skip: Declare } {
  const named =
    (declare: unknown): Declare =>
    (title, ...rest) =>
      (declare as Declare)(`${file} › ${title}`, ...rest);
  const skip = named(ava.serial.skip);
  const serial = Object.assign(named(ava.serial), { skip });
  return Object.assign(named(ava.serial), { serial, skip });
}
