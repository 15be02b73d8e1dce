//! Ctrl-C, as events instead of the program's end.

use tokio::sync::mpsc;

/// The Ctrl-Cs since it was made. While it exists, Ctrl-C doesn't end the program by itself.
pub(crate) struct Interrupts(mpsc::Receiver<()>);

impl Interrupts {
    pub(crate) fn listen() -> Self {
        let (sender, receiver) = mpsc::channel(4);
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                // A full queue holds more than the two that matter.
                let _ = sender.try_send(());
                if sender.is_closed() {
                    break;
                }
            }
        });
        Self(receiver)
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
