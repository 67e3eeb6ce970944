//! A pseudo-terminal: what stands in for a person at a terminal, and a program that is shown there.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcgetattr, tcsetwinsize},
};

/// How long a program may take to write what it should.
const SOON: Duration = Duration::from_secs(20);

/// Both ends of a pseudo-terminal.
pub struct PseudoTerminal {
    person: File,
    program: File,
    written: Arc<Written>,
}

#[derive(Default)]
struct Written {
    bytes: Mutex<Vec<u8>>,
    more: Condvar,
}

impl PseudoTerminal {
    /// A terminal of this size. What programs write to it is read and kept.
    pub fn new(columns: u16, rows: u16) -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap();
        let program = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        tcsetwinsize(&program, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let person = File::from(person);
        let (written, mut reader) = (Arc::new(Written::default()), person.try_clone().unwrap());
        let writes = Arc::clone(&written);
        // Reading fails once no program has the terminal open any more: the end of the test.
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut chunk) {
                writes.bytes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&chunk[..count]);
                writes.more.notify_all();
            }
        });
        Self { person, program, written }
    }

    /// Starts a program on it.
    pub fn spawn(&self, mut command: Command) -> Child {
        let end = || Stdio::from(OwnedFd::from(self.program.try_clone().unwrap()));
        command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap()
    }

    /// What is typed.
    pub fn type_in(&mut self, keys: &str) {
        self.person.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the program has written `what`, since the terminal was made.
    ///
    /// # Panics
    /// If it does not.
    pub fn wait_for(&self, what: &str) {
        self.wait_for_text(what, |text| text.contains(what));
    }

    /// Waits until what the program has written is as it should be; `what` says how that is.
    ///
    /// # Panics
    /// If it does not come to that.
    pub fn wait_for_text(&self, what: &str, is_there: impl Fn(&str) -> bool) {
        let (deadline, mut bytes) = (Instant::now() + SOON, self.written.bytes.lock().unwrap());
        while !is_there(&String::from_utf8_lossy(&bytes)) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what:?} in {:?}", String::from_utf8_lossy(&bytes));
            bytes = self.written.more.wait_timeout(bytes, left).unwrap().0;
        }
    }

    /// What was written so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.bytes.lock().unwrap()).into_owned()
    }

    /// The modes of the terminal, raw or not, to be compared.
    pub fn modes(&self) -> String {
        let modes = tcgetattr(&self.program).unwrap();
        format!("{:?} {:?} {:?}", modes.input_modes, modes.output_modes, modes.local_modes)
    }
}
