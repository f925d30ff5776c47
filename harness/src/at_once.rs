//! Many things done at once: on all nodes, or asked of all agents.

use std::future::Future;

use tokio::task::JoinSet;

/// Runs all of them concurrently; the answers are in the order of the questions.
pub async fn at_once<F, T>(questions: impl Iterator<Item = F>) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let mut running = JoinSet::new();
    for (place, question) in questions.enumerate() {
        running.spawn(async move { (place, question.await) });
    }
    let mut answers = running.join_all().await;
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_run_beside_each_other_and_answer_in_the_order_of_the_questions() {
        let began = tokio::time::Instant::now();
        let sleep = |s: u64| async move {
            tokio::time::sleep(Duration::from_secs(s)).await;
            s
        };
        assert_eq!(at_once([3, 1, 2].into_iter().map(sleep)).await, [3, 1, 2]);
        assert_eq!(began.elapsed(), Duration::from_secs(3));
    }
}
