//! A connection to a server that blocks: RESP2, commands in order.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Nil,
    Number(i64),
    Text(String),
    Error(String),
    List(Vec<Reply>),
}

impl Reply {
    /// The text of a simple or bulk string; empty for anything else.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    pub fn number(&self) -> i64 {
        match self {
            Self::Number(n) => *n,
            other => panic!("not a number: {other:?}"),
        }
    }

    pub fn list(&self) -> &[Self] {
        match self {
            Self::List(list) => list,
            other => panic!("not a list: {other:?}"),
        }
    }

    /// Itself, if it is no error.
    pub fn ok(self) -> Self {
        if let Self::Error(error) = &self {
            panic!("{error}");
        }
        self
    }
}

/// A connection.
pub struct Link {
    stream: BufReader<TcpStream>,
}

impl Link {
    pub fn open(port: u16, auth: Option<&str>) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.set_write_timeout(Some(Duration::from_secs(5)))?;
        stream.set_nodelay(true)?;
        let mut link = Self { stream: BufReader::new(stream) };
        if let Some(password) = auth {
            link.call(&["AUTH", password])?.ok();
        }
        Ok(link)
    }

    /// One command and its answer.
    pub fn call(&mut self, args: &[&str]) -> io::Result<Reply> {
        self.send(&[args.to_vec()])?;
        self.receive()
    }

    /// Many commands at once; their answers are [`Link::receive`]d one by one.
    pub fn send<A: AsRef<str>>(&mut self, commands: &[Vec<A>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for args in commands {
            write!(bytes, "*{}\r\n", args.len())?;
            for arg in args {
                let arg = arg.as_ref();
                write!(bytes, "${}\r\n{arg}\r\n", arg.len())?;
            }
        }
        self.stream.get_mut().write_all(&bytes)
    }

    /// Many commands at once, and their answers.
    pub fn pipeline<A: AsRef<str>>(&mut self, commands: &[Vec<A>]) -> io::Result<Vec<Reply>> {
        self.send(commands)?;
        commands.iter().map(|_| self.receive()).collect()
    }

    pub fn receive(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let (kind, rest) = line.split_at(1);
        let length = || rest.parse::<i64>().map_err(|_| io::Error::other(format!("a bad length: {line}")));
        Ok(match kind {
            "+" => Reply::Text(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Number(length()?),
            "$" => match usize::try_from(length()?) {
                Ok(length) => {
                    let mut bytes = vec![0; length + 2];
                    self.stream.read_exact(&mut bytes)?;
                    bytes.truncate(length);
                    Reply::Text(String::from_utf8_lossy(&bytes).into_owned())
                }
                Err(_) => Reply::Nil,
            },
            "*" => match usize::try_from(length()?) {
                Ok(length) => Reply::List((0..length).map(|_| self.receive()).collect::<io::Result<_>>()?),
                Err(_) => Reply::Nil,
            },
            _ => return Err(io::Error::other(format!("not RESP2: {line}"))),
        })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let line = line.trim_end_matches(['\r', '\n']);
        if line.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(line.to_owned()) }
    }
}
