//! Tasks: named, and owned by their handle.

use crate::BoxFuture;

/// Spawns tasks on the platform's executor.
pub trait Tasks: Send + Sync + 'static {
    /// Runs `future` concurrently. `name` is for logs and for simulation reports.
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) -> TaskHandle;
}

/// Owns a task: dropping it aborts the task, [`TaskHandle::detach`] lets it go on.
pub struct TaskHandle {
    abort: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl TaskHandle {
    /// Made by a platform: `abort` stops the task; it may be called after the task has ended.
    pub fn new(abort: impl FnOnce() + Send + Sync + 'static) -> TaskHandle {
        TaskHandle { abort: Some(Box::new(abort)) }
    }

    /// Lets the task go on without an owner.
    pub fn detach(mut self) {
        self.abort = None;
    }
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        if let Some(abort) = self.abort.take() {
            abort();
        }
    }
}
