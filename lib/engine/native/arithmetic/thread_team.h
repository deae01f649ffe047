// Threads that wait for work without sleeping at once: a training step is a hundred parallel tasks of some 100 microseconds
// each, and waking a thread takes half as long. TensorFlow's pool sleeps sooner. Shared by all variants.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace folio {

// While it exists, the calling thread treats denormal numbers as 0, since each would cost a hundred cycles.
class FlushDenormals {
 public:
#if defined(__x86_64__)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }  // flush to zero, denormals are zero
  ~FlushDenormals() { _mm_setcsr(before_); }
#elif defined(__aarch64__)
  FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    asm volatile("msr fpcr, %0" : : "r"(before_ | (uint64_t{1} << 24)));
  }
  ~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(before_)); }
#endif
  FlushDenormals(const FlushDenormals&) = delete;

 private:
#if defined(__x86_64__)
  unsigned before_;
#else
  uint64_t before_;
#endif
};

inline void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Team {
 public:
  using Piece = void (*)(const void* function, int64_t piece);

  // The team of a device, with this many threads including the caller; made at the first call.
  static Team& Of(int device, int threads) {
    static std::mutex mutex;
    static std::map<std::pair<int, int>, Team*> teams;  // never deleted: their threads end with the process
    std::lock_guard<std::mutex> lock(mutex);
    Team*& team = teams[{device, threads}];
    if (!team) team = new Team(threads - 1);
    return *team;
  }

  // Runs call(function, piece) for pieces [0, count), which the threads take one after another; nobody waits for a thread that
  // wakes late. The calling thread takes part. A call while the team is busy runs on its own thread alone.
  void Run(int64_t count, bool alone, Piece call, const void* function) {
    FlushDenormals flush;
    if (alone || workers_ == 0 || count < 2 || !busy_.try_lock()) {
      for (int64_t piece = 0; piece < count; piece++) call(function, piece);
      return;
    }
    call_ = call;
    function_ = function;
    count_ = count;
    next_ = 0;
    open_ = true;
    generation_++;
    if (asleep_ > 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      wake_.notify_all();
    }
    Work();
    open_ = false;
    for (int64_t spins = 0; inside_ > 0; spins++) Wait(spins);
    busy_.unlock();
  }

  static void Wait(int64_t spins) { spins < 10'000 ? Pause() : std::this_thread::yield(); }

 private:
  explicit Team(int workers) : workers_(workers) {
    for (int i = 0; i < workers; i++) std::thread([this] { Loop(); }).detach();
  }

  void Work() {
    for (int64_t piece = next_++; piece < count_; piece = next_++) call_(function_, piece);
  }

  // A worker enters before it checks whether the work is open, and the caller closes the work before it checks whether any
  // worker is inside, so no worker uses work that has ended.
  void Loop() {
    FlushDenormals flush;
    uint64_t seen = 0;
    for (;;) {
      Await(seen);
      seen = generation_;
      inside_++;
      if (open_) Work();
      inside_--;
    }
  }

  void Await(uint64_t seen) {
    const auto patience = std::chrono::microseconds(500);
    const auto start = std::chrono::steady_clock::now();
    do {
      for (int i = 0; i < 64; i++) {
        if (generation_ != seen) return;
        Pause();
      }
      std::this_thread::yield();  // to TensorFlow's threads
    } while (std::chrono::steady_clock::now() - start < patience);
    std::unique_lock<std::mutex> lock(mutex_);
    asleep_++;
    wake_.wait(lock, [&] { return generation_ != seen; });
    asleep_--;
  }

  const int workers_;
  std::mutex busy_, mutex_;
  std::condition_variable wake_;
  Piece call_ = nullptr;
  const void* function_ = nullptr;
  int64_t count_ = 0;
  alignas(64) std::atomic<uint64_t> generation_{0};
  std::atomic<bool> open_{false};
  std::atomic<int> asleep_{0};
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<int> inside_{0};
};

}  // namespace folio
