//! A proved connection to a process's inspector, and one command after another on it.

use crate::discover::parse::Listener;
use pitwall_inspector::{
    Closed, Command, Connection, Error, Evaluated, Event, Incoming, Limits, SocketPath, expression,
};
use serde_json::value::RawValue;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// How long V8 lets one of our expressions run.
const EVALUATE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection to an inspector that a session opened.
#[derive(Debug)]
pub struct Link {
    /// The conversation.
    pub connection: Connection,
    /// The socket that was connected to.
    pub listener: Listener,
    /// Whether the app has said that it wants to exit and waits for us.
    pub exiting: bool,
}

/// Why a command has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The inspector refused it.
    #[error("the inspector refused {method}: {message}")]
    Refused {
        /// The command.
        method: &'static str,
        /// What the inspector says.
        message: String,
    },
    /// The app threw.
    #[error("the app threw at an expression of Pitwall's: {0}")]
    Threw(String),
    /// The connection ended.
    #[error("the inspector's connection ended at {method} ({how})")]
    Lost {
        /// The command.
        method: &'static str,
        /// How it ended.
        how: String,
    },
    /// The conversation went wrong.
    #[error(transparent)]
    Inspector(#[from] Error),
}

/// Where to dial a listening socket; a wildcard is reached through loopback.
pub fn address(listener: &Listener) -> SocketAddr {
    let ip = match listener.address {
        IpAddr::V4(v4) if v4.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(v6) if v6.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    };
    SocketAddr::new(ip, listener.port)
}

/// How a connection ended, in words.
pub fn ending(closed: Closed) -> String {
    match closed {
        Closed::ByFrame { code: Some(code) } => format!("closed from within the app, code {code}"),
        Closed::ByFrame { code: None } => "closed from within the app".to_owned(),
        Closed::Dropped { within_message: true } => "dropped in the middle of a message".to_owned(),
        Closed::Dropped { within_message: false } => "dropped".to_owned(),
    }
}

impl Link {
    /// Asks the socket for its target and connects to it. Has no time limit of its own.
    pub async fn connect(listener: &Listener) -> Result<Self, Error> {
        let addr = address(listener);
        let targets = pitwall_inspector::list(addr).await?;
        let [target] = targets.as_slice() else {
            return Err(Error::NotAnInspector {
                addr,
                seen: format!("it lists {} targets where Node lists one", targets.len()),
            });
        };
        Self::connect_to(listener, target).await
    }

    /// Connects to a target of the socket that is known already. Has no time limit of its own.
    pub async fn connect_to(listener: &Listener, target: &SocketPath) -> Result<Self, Error> {
        let connection = Connection::connect(address(listener), target, Limits::default()).await?;
        Ok(Self { connection, listener: listener.clone(), exiting: false })
    }

    /// Sends a command and waits for its result. Has no time limit of its own.
    pub async fn call(&mut self, command: &Command<'_>) -> Result<Box<RawValue>, CallError> {
        let [result] = self.call_all([command]).await?;
        result
    }

    /// Sends commands all at once and waits for their results: each wait of its own would cost a busy app's
    /// next interrupt. Has no time limit of its own.
    pub async fn call_all<const N: usize>(
        &mut self,
        commands: [&Command<'_>; N],
    ) -> Result<[Result<Box<RawValue>, CallError>; N], CallError> {
        let mut sent = Vec::with_capacity(N);
        for command in commands {
            sent.push(self.connection.send(command)?);
        }
        let mut results = [const { None }; N];
        while let Some(waiting) = results.iter().position(Option::is_none) {
            let at = |id| sent.iter().position(|one| *one == id);
            match self.connection.next().await? {
                Incoming::Reply { id, result } => {
                    if let Some(at) = at(id) {
                        results[at] = Some(Ok(result));
                    }
                }
                Incoming::Refused { id, message, .. } => {
                    if let Some(at) = at(id) {
                        let method = commands[at].method();
                        results[at] = Some(Err(CallError::Refused { method, message }));
                    }
                }
                Incoming::Event(Event::WaitingForDisconnect) => self.exiting = true,
                Incoming::Closed(closed) => {
                    let method = commands[waiting].method();
                    return Err(CallError::Lost { method, how: ending(closed) });
                }
                Incoming::Event(_)
                | Incoming::StreamChunk { .. }
                | Incoming::StreamEnd { .. }
                | Incoming::EventChunk { .. }
                | Incoming::EventEnd { .. } => {}
            }
        }
        Ok(results.map(|result| result.expect("the loop ends when every result is there")))
    }

    /// Evaluates an expression for its value.
    pub async fn evaluate(&mut self, expression: &str) -> Result<Box<RawValue>, CallError> {
        value(&self.call(&evaluate(expression)).await?)
    }

    /// Whether the app is still starting: nothing else is to be evaluated then.
    pub async fn starting(&mut self) -> Result<bool, CallError> {
        let starting = expression::starting();
        let asked =
            Command::Evaluate { expression: &starting, timeout: EVALUATE_TIMEOUT, command_line_api: false };
        Ok(value(&self.call(&asked).await?)?.get() == "true")
    }
}

/// The command that evaluates an expression.
pub fn evaluate(expression: &str) -> Command<'_> {
    Command::Evaluate { expression, timeout: EVALUATE_TIMEOUT, command_line_api: true }
}

/// The value in the result of [`evaluate`].
pub fn value(result: &RawValue) -> Result<Box<RawValue>, CallError> {
    match Evaluated::from_result(result)? {
        Evaluated::Value(value) => Ok(value),
        Evaluated::Threw(text) => Err(CallError::Threw(text)),
    }
}
