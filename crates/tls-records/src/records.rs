//! Records of an established connection: sealed into the caller's buffer, opened in the caller's buffer.
//!
//! Owns both directions' keys and the limit on KeyUpdates. Never keeps a byte of what it opens or seals. Always holds: keys
//! are changed before they have sealed as many records as AES-GCM bears (RFC 8446 section 5.5).

use std::time::Instant;

use super::{
    alert::Alert,
    error::RecordError,
    key::{TAG, TrafficKey},
    key_update::KeyUpdateLimit,
    schedule::KeySchedule,
};

/// The most plaintext of one record (RFC 8446 section 5.1).
pub const MAX_PLAINTEXT: usize = 1 << 14;
/// The largest record on the wire: its header, and ciphertext that is at most 256 bytes longer (section 5.2).
pub const MAX_RECORD: usize = HEADER + MAX_PLAINTEXT + 256;

const HEADER: usize = 5;
/// What a record is longer than its plaintext: header, content type, tag.
const OVERHEAD: usize = HEADER + 1 + TAG;
/// 2^24 records of full size are what AES-GCM bears under one key (section 5.5).
const MAX_RECORDS: u64 = 1 << 24;

/// Content types (section 5.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
/// A KeyUpdate message but for its last byte (section 4.6.3).
const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];
/// Its record.
const KEY_UPDATE_RECORD: usize = KEY_UPDATE.len() + 1 + OVERHEAD;

/// What became of received bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// So many bytes were whole records. The rest is the beginning of one: it is to be given again, with what follows it.
    pub used: usize,
    /// The peer has closed its side (close_notify, section 6.1): what came behind is dropped.
    pub closed: bool,
}

/// An established TLS 1.3 connection's records. What sealing needs stands together, first.
#[repr(C)]
pub struct Records<S> {
    send: TrafficKey,
    receive: TrafficKey,
    schedule: S,
    updates: KeyUpdateLimit,
}

impl<S: KeySchedule> Records<S> {
    /// The records of a connection with these keys; `schedule` gives the ones after them.
    #[must_use]
    pub fn new(send: TrafficKey, receive: TrafficKey, schedule: S) -> Self {
        Self { send, receive, schedule, updates: KeyUpdateLimit::default() }
    }

    /// How long `plain` bytes of application data become when they are sealed next.
    #[inline]
    #[must_use]
    pub fn sealed_len(&self, plain: usize) -> usize {
        let records = plain.div_ceil(MAX_PLAINTEXT);
        let update = if self.is_last_of_key(records) { KEY_UPDATE_RECORD } else { 0 };
        plain + records * OVERHEAD + update
    }

    /// Seals `plain` as application data into `out`, whose length is [`Records::sealed_len`]. Whatever `out` holds is written
    /// over. A KeyUpdate follows where the key has sealed as much as it bears (section 5.5).
    ///
    /// # Errors
    /// [`RecordError::Buffer`], with nothing sealed; or the key schedule fails.
    #[inline]
    pub fn seal(&mut self, plain: &[u8], out: &mut [u8]) -> Result<(), RecordError> {
        if out.len() != self.sealed_len(plain.len()) {
            return Err(RecordError::Buffer);
        }
        let updates = self.is_last_of_key(plain.len().div_ceil(MAX_PLAINTEXT));
        let mut rest = out;
        for part in plain.chunks(MAX_PLAINTEXT) {
            let (record, behind) = rest.split_at_mut(part.len() + OVERHEAD);
            seal_record(&mut self.send, APPLICATION_DATA, part, record)?;
            rest = behind;
        }
        if updates { self.update_send_key(false, rest) } else { Ok(()) }
    }

    /// Whether so many records more use the sending key up.
    #[inline]
    fn is_last_of_key(&self, records: usize) -> bool {
        self.send.sequence().saturating_add(records as u64) >= MAX_RECORDS
    }

    /// Appends a close_notify alert (section 6.1). Nothing is to be sealed after it.
    ///
    /// # Errors
    /// As [`Records::seal`].
    pub fn seal_close(&mut self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        self.seal_alert(Alert::CLOSE_NOTIFY, out)
    }

    /// Appends a KeyUpdate and changes the sending key (section 4.6.3); with `request` the peer changes its own as well.
    ///
    /// # Errors
    /// The key schedule fails.
    pub fn seal_key_update(&mut self, request: bool, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let start = out.len();
        out.resize(start + KEY_UPDATE_RECORD, 0);
        self.update_send_key(request, &mut out[start..])
    }

    /// Opens the whole records in `received`, in place: their plaintext is appended to `plain`, answers of the protocol itself
    /// (KeyUpdates, an alert) to `reply`. `now` is the time at which they came.
    ///
    /// # Errors
    /// The peer broke the protocol, or ended the connection with an alert. `reply` then ends with the alert to send, and
    /// `plain` holds what came before the fault. Nothing is to be opened after it.
    pub fn open(
        &mut self,
        received: &mut [u8],
        now: Instant,
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<Opened, RecordError> {
        let opened = self.open_all(received, now, plain, reply);
        if let Err(error) = &opened {
            // The connection ends either way.
            let _ = self.seal_alert(error.alert(), reply);
        }
        opened
    }

    fn open_all(
        &mut self,
        received: &mut [u8],
        now: Instant,
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<Opened, RecordError> {
        let length = received.len();
        let mut rest = received;
        while let Some(&header) = rest.first_chunk::<HEADER>() {
            let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
            if header[0] != APPLICATION_DATA {
                return Err(RecordError::Unprotected);
            }
            if HEADER + len > MAX_RECORD {
                return Err(RecordError::TooLong);
            }
            if rest.len() < HEADER + len {
                break;
            }
            let (record, behind) = rest.split_at_mut(HEADER + len);
            rest = behind;
            let opened = self.receive.open(&header, &mut record[HEADER..])?;
            // Content, content type and padding together (section 5.4).
            if opened.len() > MAX_PLAINTEXT + 1 {
                return Err(RecordError::TooLong);
            }
            // Zeros behind the content type are padding.
            let end = opened.iter().rposition(|&byte| byte != 0).ok_or(RecordError::NoContentType)?;
            let (content, kind) = (&opened[..end], opened[end]);
            match (kind, content) {
                (APPLICATION_DATA, data) => plain.extend_from_slice(data),
                (ALERT, [1 | 2, 0]) => return Ok(Opened { used: length - rest.len(), closed: true }),
                (ALERT, [1 | 2, description]) => return Err(RecordError::Alert(Alert(*description))),
                (HANDSHAKE, [24, 0, 0, 1, request @ (0 | 1)]) => self.key_update(*request == 1, now, reply)?,
                _ => return Err(RecordError::UnexpectedMessage),
            }
        }
        Ok(Opened { used: length - rest.len(), closed: false })
    }

    /// The peer has changed its key, and may want this side's changed as well (section 4.6.3).
    fn key_update(&mut self, requested: bool, now: Instant, reply: &mut Vec<u8>) -> Result<(), RecordError> {
        if !self.updates.take(now) {
            return Err(RecordError::TooManyKeyUpdates);
        }
        self.receive = self.schedule.next_receive_key()?;
        if requested { self.seal_key_update(false, reply) } else { Ok(()) }
    }

    fn update_send_key(&mut self, request: bool, record: &mut [u8]) -> Result<(), RecordError> {
        let [kind, a, b, c] = KEY_UPDATE;
        seal_record(&mut self.send, HANDSHAKE, &[kind, a, b, c, u8::from(request)], record)?;
        self.send = self.schedule.next_send_key()?;
        Ok(())
    }

    fn seal_alert(&mut self, alert: Alert, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let start = out.len();
        out.resize(start + 2 + OVERHEAD, 0);
        seal_record(&mut self.send, ALERT, &[alert.level(), alert.0], &mut out[start..])
    }

    /// The number of records that the sending key has sealed. Reading it loads what the next seal needs.
    #[inline]
    #[must_use]
    pub fn sealed_records(&self) -> u64 {
        self.send.sequence()
    }
}

/// Seals one record (section 5.2); `record` is `content.len() + OVERHEAD` long.
#[inline]
fn seal_record(key: &mut TrafficKey, kind: u8, content: &[u8], record: &mut [u8]) -> Result<(), RecordError> {
    let (header, body) = record.split_at_mut(HEADER);
    // At most MAX_PLAINTEXT + 17, so that it fits.
    let [high, low] = ((content.len() + 1 + TAG) as u16).to_be_bytes();
    header.copy_from_slice(&[APPLICATION_DATA, 3, 3, high, low]);
    let (inner, tag) = body.split_at_mut(content.len() + 1);
    inner[..content.len()].copy_from_slice(content);
    inner[content.len()] = kind;
    key.seal(header, inner, tag)
}
