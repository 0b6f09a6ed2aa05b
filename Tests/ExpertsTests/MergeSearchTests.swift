import Checkpoint
import JSONText
import LanguageModel
import Numerics
import Testing
import Tokenizing

@testable import Experts

/// Which numbers a search changes, and what it finds.
@Suite struct MergeSearchTests {
    let place = ScratchFolder()
    let shape = ModelConfiguration(
        vocabularySize: 256, width: 4, layerCount: 1, headCount: 1, feedForwardWidth: 4, contextLength: 8)

    private func model(_ name: String, value: Float) throws {
        let parameters = FloatBuffer(count: shape.parameterCount)
        for index in 0..<parameters.count { parameters[index] = value }
        try ModelFolder.write(to: place[name], configuration: shape, tokenizer: .bytes, parameters: parameters)
    }

    private func recipe(_ tree: JSONValue) throws -> MergeRecipe { try MergeRecipe(tree, file: "r") }

    @Test func `Every number that models may differ in is an axis of its own`() throws {
        let space = try SearchSpace(
            recipe([
                "merge_method": "ties", "base_model": "base",
                "models": [
                    ["model": "base"],
                    ["model": "a", "parameters": ["weight": [["filter": "mlp", "value": [0, 1]], 0.5]]],
                    ["model": "b"],
                ], "parameters": ["weight": 0.3, "density": 0.525, "lambda": 2],
            ]))
        #expect(space.axes.map(\.parameter) == [.weight, .weight, .weight, .weight, .density, .density])
        let start = [0, 1 / 1.5, 0.5 / 1.5, 0.3 / 1.5, 0.5, 0.5]
        #expect(zip(space.start, start).allSatisfy { abs($0 - $1) < 1e-12 })
        let third = 0.5 / 1.5
        #expect(try #require(space.uniform).prefix(4).allSatisfy { abs($0 - third) < 1e-12 })
        let changed = space.recipe(at: [1, 1, 1, 0, 0, 1])
        #expect(changed.slices[0].sources[1].parameters[.weight]?.value(for: "x.mlp", at: 0) == 1.5)
        #expect(changed.slices[0].sources[2].parameters[.weight]?.value(for: "x", at: 0) == 0)
        #expect(changed.slices[0].sources[1].parameters[.density]?.value(for: "x", at: 0) == 0.05)
        #expect(changed.slices[0].sources[2].parameters[.density]?.value(for: "x", at: 0) == 1)
        #expect(changed.slices[0].sources[0].parameters.isEmpty && changed.parameters[.lambda] != nil)
    }

    @Test func `Recipes without numbers to search are refused`() throws {
        #expect(throws: RecipeProblem.self) {
            try SearchSpace(recipe(["merge_method": "karcher", "models": [["model": "a"]]]))
        }
    }

    @Test func `The text of a recipe reads back as the recipe`() throws {
        let tree: JSONValue = [
            "merge_method": "slerp", "base_model": "a",
            "slices": [
                [
                    "sources": [
                        ["model": "a", "layer_range": [0, 3]], ["model": "b \"x\"", "layer_range": [1, 4]],
                    ],
                    "parameters": ["t": [["filter": "self_attn", "value": [0, 0.5]], ["value": 0.25]]],
                ]
            ], "parameters": ["t": 0.5], "dtype": "float16",
            "tokenizer": ["source": "union", "tokens": ["<|x|>": ["source": ["kind": "zero"], "force": true]]],
        ]
        let one = try recipe(tree)
        #expect(try recipe(one.tree).tree == one.tree)
        #expect(try recipe(one.tree).slices.map(\.sources.count) == [2])
        #expect(one.tree.object?["slices"]?.array?.first?.object?["sources"]?.array?.count == 2)
    }

    @Test func `A search finds the weights that it is paid for, on every run the same`() throws {
        try model("a", value: 1)
        try model("b", value: 3)
        let tree: JSONValue = [
            "merge_method": "linear", "parameters": ["normalize": false],
            "models": .array(["a", "b"].map { ["model": .text(place[$0]), "parameters": ["weight": 1]] }),
        ]
        func run() throws -> MergeSearch {
            let search = try MergeSearch(recipe(tree), seed: 1, pool: WorkerPool(threadCount: 1))
            // Two domains that want other sums: the mean cost is least at 2.5, and no weight is best for both.
            try search.run(
                domainCount: 2,
                losses: { (parameters) throws(ModelError) in
                    [2, 3].map { (Double(parameters[0]) - $0) * (Double(parameters[0]) - $0) }
                }, isDone: { search.trials.count >= 150 })
            return search
        }
        let search = try run()
        let best = try #require(search.best)
        #expect(abs(best.values[0] + 3 * best.values[1] - 2.5) < 0.01)
        #expect(search.trials.prefix(2).map(\.origin) == [.recipe, .uniform])
        #expect(search.trials[0].values == [1, 1] && search.trials[1].values == [0.5, 0.5])
        #expect(try run().trials.map(\.values) == search.trials.map(\.values))
        // The frontier goes from what is best for one domain to what is best for the other.
        let frontier = search.frontier
        #expect(frontier.count > 2 && frontier.allSatisfy { trial in !frontier.contains { trial.isDominated(by: $0) } })
        let plan = search.plan(of: best)
        #expect(plan.recipeText.contains("merge_method: \"linear\"") && plan.recipeText.contains("\(best.values[0])"))
    }

    @Test func `Losses that are no numbers cost infinitely much and end nothing`() throws {
        try model("a", value: 1)
        let tree: JSONValue = [
            "merge_method": "linear", "parameters": ["normalize": false],
            "models": [["model": .text(place["a"]), "parameters": ["weight": 0.1]]],
        ]
        let search = try MergeSearch(recipe(tree), seed: 1, pool: WorkerPool(threadCount: 1))
        try search.run(
            domainCount: 1,
            losses: { (parameters) throws(ModelError) in
                let weight = Double(parameters[0])
                return [weight < 0.5 ? .nan : (weight - 0.6) * (weight - 0.6)]
            }, isDone: { search.trials.count >= 60 })
        #expect(search.trials[0].cost == .infinity)
        #expect(abs(try #require(search.best).values[0] - 0.6) < 0.01)
    }
}
